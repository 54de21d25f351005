"""Plans of workers that prefill and decode: of each model's own, and of adapters that share them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.plan.bench import Bench
from sunsim.plan.conditions import Conditions
from sunsim.plan.doubt import Doubt
from sunsim.plan.fastest import hopeless
from sunsim.plan.load import starts
from sunsim.plan.run import load
from sunsim.plan.tables import overview
from sunsim.plan.tables import workers as worker_table
from sunsim.plan.variants import TYPICAL, variants
from sunsim.roles import Stage
from tests.plan.brute import fewest, holds
from tests.plan.small import invoke, write_plan
from tests.synthetic import synthetic_profile

SCENARIO = """\
name: together
seed: 3
models: {count: 3, popularity: {kind: zipf, alpha: 1}}
workload:
  kind: synthetic
  duration_s: 3
  arrivals: {kind: poisson, rate_rps: 70}
  lengths: {kind: lognormal, prompt: {median_tokens: 300, sigma: 0.5, max_tokens: 2000}, output: {median_tokens: 40, sigma: 0.5, max_tokens: 200}}
slo: {ttft_ms: 300, tpot_ms: 11}
measure: {warmup_s: 0.5}
arms:
- name: own
  colocated: {profile: profile.json, policy: isolated, workers: 3}
- name: lora
  colocated: {profile: lora.json, policy: shared, workers: 1}
"""
PLAN = "plan: {seeds: 2, max_decode_gpus: 8, sensitivity: false, price_per_gpu_hour: 2}\n"

Done = tuple[Path, dict[str, Any], str]


def write(folder: Path, plan: str = PLAN) -> Path:
    """The scenario with its two profiles; its path."""
    file = write_plan(folder, plan, SCENARIO)
    (folder / "lora.json").write_text(json.dumps(synthetic_profile(variant="lora-r16")))
    return file


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The file of a plan of both, its content, and what it printed."""
    folder = tmp_path_factory.mktemp("colocated")
    file = write(folder)
    code, stdout, stderr = invoke("plan", file, "--out", folder / "out", "--jobs", 1)
    assert (code, stderr) == (0, "")
    return file, json.loads((folder / "out" / "plan.json").read_text()), stdout


@pytest.mark.parametrize("arm", [0, 1])
def test_the_pools_are_the_smallest_that_a_search_of_all_sizes_finds(done: Done, arm: int) -> None:
    file, content, _ = done
    scenario = load(file, (), None).scenario
    bench = Bench(scenario, scenario.arms[arm], [])
    workers = content["arms"][bench.arm.name]["workers"]["colocated"]
    planned = {role: workers if role.model is None else workers[role.model] for role in bench.roles}
    assert sum(planned.values()) > len(planned)
    assert holds(scenario, bench, planned)
    assert sum(fewest(scenario, bench.arm).values()) == sum(planned.values())


def test_everything_is_said_of_colocated_gpus(done: Done) -> None:
    _, content, stdout = done
    own, lora = content["arms"]["own"], content["arms"]["lora"]
    for arm in (own, lora):
        gpus = arm["gpus"]
        assert gpus == {"colocated": gpus["all"], "all": gpus["all"]}
        assert arm["cost"]["per_hour"] == 2 * gpus["all"]
        assert all(not less["passes"] and less["pool"].startswith("colocated GPUs") for less in arm["one_less"])
        assert arm["rates"]["passes"] >= 1
        # As in a run's summary, they decode.
        for figures in (arm["figures"], *arm["curve"], arm["portrait"]["entry"]):
            assert figures["output_throughput_per_decode_gpu"] == figures["output_throughput_per_gpu"]
        assert arm["portrait"]["over_time"]["batch_mean"]
    said = " ".join(stdout.split())
    less, more = sorted((own["gpus"]["all"], lora["gpus"]["all"]))
    assert less < more
    assert f"lora meets the SLO with {less} colocated GPUs; own needs {more} colocated GPUs" in said
    assert "with one less of its colocated GPUs" in said
    assert "What the models must be: any fine-tunes (own); LoRA adapters of one base model (lora)." in said
    assert overview(content).headers[:3] == ("arm", "all\nGPUs", "colocated\nGPUs")
    pools = [row[:2] for row in worker_table(content).rows]
    assert pools == [*(("own", f"colocated m{n}") for n in (1, 2, 3)), ("lora", "colocated")]


@pytest.mark.parametrize(
    ("override", "limit", "steps"),
    [("slo.tpot_ms=6", "tpot_ms", ["decode"]), ("slo.ttft_ms=8", "ttft_ms", ["prefill"])],
)
def test_a_first_token_takes_a_prefill_and_each_other_a_decode(
    tmp_path: Path, override: str, limit: str, steps: list[str]
) -> None:
    scenario = load(write(tmp_path), (override,), None).scenario
    (found,) = hopeless(scenario, scenario.arms[0])
    assert (found["limit"], found["steps"]) == (limit, steps)


def test_the_search_begins_with_the_load_of_both_kinds_of_steps(tmp_path: Path) -> None:
    scenario = load(write(tmp_path), ("workload.arrivals.rate_rps=700", "plan.max_decode_gpus=256"), None).scenario
    lora = scenario.arms[1]
    (role,) = lora.pools()[Stage.COLOCATED].roles
    together = starts(scenario, lora, [role])[role]
    apart = "arms=[{name: apart, prefill: &p {profile: lora.json, policy: shared, workers: 1}, decode: *p}]"
    scenario = load(write(tmp_path), ("workload.arrivals.rate_rps=700", apart), None).scenario
    roles = [role for pool in scenario.arms[0].pools().values() for role in pool.roles]
    prefill, decode = starts(scenario, scenario.arms[0], roles).values()
    # Rounded up once, not twice.
    assert prefill + decode - 1 <= together <= prefill + decode


def test_colocated_steps_are_slower_by_the_errors_of_both_kinds(tmp_path: Path) -> None:
    scenario = load(write(tmp_path), (), None).scenario
    own = scenario.arms[0]
    assert own.colocated
    name = own.colocated.profile_name
    of = {steps: {name: Doubt(name, "", {"a": -error})} for steps, error in (("prefill", 10.0), ("decode", 2.0))}
    assert variants(scenario, own, of)[TYPICAL] == Conditions(decode_time=1.02, prefill_time=1.1)
