"""What a way asks of the models follows from its modules, and its real runs are those of such workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.latency.profile import load_named
from sunsim.plan.conclusion import conclusion
from sunsim.plan.doubt import reported_runs
from sunsim.plan.errors import error_table
from sunsim.plan.run import load
from sunsim.plan.way_tables import needed
from sunsim.plan.ways import ANY, needs, way
from sunsim.validation.folders import errors_file
from tests.plan.small import write_plan
from tests.synthetic import synthetic_profile

OWN = "{profile: profile.json, policy: isolated, workers: 2}"
SHARED = "{profile: %s, policy: shared, workers: 1}"
TUNED, ADAPTERS = "models tuned for one frozen decoder", "LoRA adapters of one base model"
FOR_PREFILL = "models tuned for one frozen prefill module"
ONE_MODULE = "{profile: profile.json, policy: shared, module: shared, workers: 1}"
WAYS = {
    f"colocated: {OWN}": [ANY],
    f"prefill: {OWN}, decode: {OWN}": [ANY],
    "colocated: {profile: awq.json, policy: isolated, workers: 2}": [ANY, "awq-quantized weights"],
    f"prefill: {OWN}, decode: {{profile: awq.json, policy: isolated, workers: 2}}": [
        ANY,
        "awq-quantized decode weights",
    ],
    f"prefill: {OWN}, decode: {SHARED % 'profile.json'}": [TUNED],
    f"prefill: {OWN}, decode: {SHARED % 'awq.json'}": [TUNED, "awq-quantized decode weights"],
    f"prefill: {SHARED % 'profile.json'}, decode: {OWN}": [ANY],
    f"prefill: {ONE_MODULE}, decode: {OWN}": [FOR_PREFILL],
    f"prefill: {ONE_MODULE}, decode: {SHARED % 'profile.json'}": [FOR_PREFILL, TUNED],
    f"prefill: {SHARED % 'lora-r16.json'}, decode: {SHARED % 'lora-r16.json'}": [ADAPTERS],
    f"colocated: {SHARED % 'lora-r16.json'}": [ADAPTERS],
}


@pytest.mark.parametrize("blocks", WAYS)
def test_what_the_models_must_be_follows_from_the_modules(tmp_path: Path, blocks: str) -> None:
    file = write_plan(tmp_path)
    for variant in ("awq", "lora-r16"):
        (tmp_path / f"{variant}.json").write_text(json.dumps(synthetic_profile(variant=variant)))
    # The arm's name says nothing.
    scenario = load(file, (f"arms=[{{name: qsun, {blocks}}}]",), None).scenario
    (arm,) = scenario.arms
    assert needs(arm, 2) == WAYS[blocks]
    assert not {TUNED, FOR_PREFILL} & set(needs(arm, 1))


H200 = "h200-141gb/llama-3.1-8b-bf16"
LORA = "h100-80gb/llama-3.1-8b-lora-r16"


def test_real_runs_are_those_of_such_workers_on_such_cards(tmp_path: Path) -> None:
    arms = f"arms=[{{name: a, colocated: {{profile: {H200}, policy: isolated, workers: 2}}}}]"
    (arm,) = load(write_plan(tmp_path), (arms,), None).scenario.arms
    (found,) = way(arm, 2, reported_runs([H200]))["validated"]
    kept = json.loads(errors_file("h200-141gb").read_text())
    played = ("host-f-llama-bf16/colocated-", "host-j-llama-sessions/")
    own = {name: errors for name, errors in kept.items() if name.startswith(played)}
    assert found["runs"] == len(own) >= 4
    for tag, figure in found["figures"].items():
        sizes = [abs(errors[tag]) for errors in own.values()]
        assert figure["mean_percent"] == pytest.approx(sum(sizes) / len(sizes))
        assert abs(figure["worst_percent"]) == max(sizes)
    assert set(found["figures"]) == {"mean_tpot_ms", "mean_ttft_ms"}


def test_runs_of_other_workers_are_not_counted(tmp_path: Path) -> None:
    stages = f"prefill: {{profile: {H200}, policy: isolated, workers: 2}}, decode: {SHARED % H200}"
    (arm,) = load(write_plan(tmp_path), (f"arms=[{{name: a, {stages}}}]",), None).scenario.arms
    runs = reported_runs([H200])
    prefill, decode = way(arm, 2, runs)["validated"]
    assert (set(prefill["figures"]), set(decode["figures"])) == ({"mean_ttft_ms"}, {"mean_tpot_ms"})
    both = sum(len(errors) == 2 for errors in runs[H200].values())
    assert prefill["runs"] + decode["runs"] + both == len(runs[H200])


def test_calibration_is_no_comparison_and_who_has_no_run_was_never_compared() -> None:
    assert load_named(LORA).adapters
    assert LORA not in reported_runs([LORA])
    bf16 = "h100-80gb/llama-3.1-8b-bf16"
    assert not any("calibration" in run for run in reported_runs([bf16])[bf16])


def test_the_tables_have_a_row_an_arm_and_a_row_a_kind_of_steps(done: tuple[Path, dict[str, Any], str]) -> None:
    _, content, stdout = done
    assert needed(content).rows == [("isolated", ANY), ("sun", TUNED)]
    rows = [row[:1] + row[2:4] for row in error_table(content).rows]
    assert rows == [("prefill", "isolated, sun", "never"), ("decode", "isolated, sun", "never")]
    assert f"What the models must be: {ANY} (isolated); {TUNED} (sun)." in conclusion(content)
    assert "what its models must be" in stdout
