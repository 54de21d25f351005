"""The error of a profile is that of the reported actual runs of its card, model and variant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.latency.profile import Profile, load_named, load_profile
from sunsim.plan.conditions import Conditions
from sunsim.plan.doubt import Doubt, Seen, doubts
from sunsim.plan.variants import TYPICAL, WORST, variants
from sunsim.scenario import checked, read_source
from sunsim.validation.folders import committed_campaigns, errors_file
from tests.golden.figures import SCENARIOS
from tests.synthetic import synthetic_profile

BF16 = "h100-80gb/llama-3.1-8b-bf16"
H200 = "h200-141gb/llama-3.1-8b-bf16"
CHAT = (1150.0, 210.0)
"""Tokens of prompts and of outputs, in the mean."""


def test_it_takes_every_reported_run_and_no_other() -> None:
    found = doubts("decode", {BF16: load_named(BF16)}, CHAT)
    assert list(found) == [BF16]
    kept = json.loads(errors_file("h100-80gb").read_text())
    expected = {
        f"{campaign.name}/{run}"
        for campaign in committed_campaigns()
        for run in campaign.plan.runs
        if campaign.plan.purpose == "reported" and campaign.profile.stem == "llama-3.1-8b-bf16"
        if campaign.folder.parent.parent.name == "h100-80gb"
    }
    expected = {name for name in expected if kept[name].get("mean_tpot_ms") is not None}
    assert set(found[BF16].errors) == expected
    assert not any("calibration" in name for name in expected)
    assert all(found[BF16].errors[name] == kept[name]["mean_tpot_ms"] for name in expected)


def own(folder: Path, **changes: Any) -> dict[str, Profile]:
    (folder / "mine.json").write_text(json.dumps(synthetic_profile(**changes)))
    return {"mine.json": load_profile(folder / "mine.json")}


def test_a_profile_of_ones_own_has_none(tmp_path: Path) -> None:
    assert doubts("decode", own(tmp_path), CHAT) == {}


def test_a_profile_is_judged_by_each_sweep_of_its_own_traffic_but_only_its_decode_steps(tmp_path: Path) -> None:
    """Sweeps a and b are as steady batches say, and c takes twice as long, so the model is half short of c."""
    spread = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")
    served = [
        {"batch": batch, "context_tokens": batch * each, "lengths": "traffic", "traffic": sweep, "steps": 10}
        | dict.fromkeys(spread, times * (7 + 0.02 * batch + 4e-5 * batch * each))
        for sweep, times in (("a", 1), ("b", 1), ("c", 2))
        for batch in (1, 8, 64)
        for each in (300, 2000)
    ]
    lengths = [{"traffic": name, "prompt_tokens": [1000], "output_tokens": [100]} for name in "abc"]
    profiles = own(tmp_path, decode_points=synthetic_profile()["decode_points"] + served, served_lengths=lengths)
    doubt = doubts("decode", profiles, CHAT)["mine.json"]
    assert list(doubt.left_out) == ["a", "b", "c"]
    assert doubt.left_out["c"] == pytest.approx(-50)
    assert doubt.errors == {}
    assert doubts("prefill", profiles, CHAT) == {}


RUNS = {"a": 3.0, "b": -4.0, "c": -1.0, "d": 20.0}
SWEEPS = {"chat": 2.0, "long": -4.0}


@pytest.mark.parametrize(
    ("doubt", "seen", "mean"),
    [
        (Doubt("p", "mean_tpot_ms", RUNS, SWEEPS, alike=("a", "b", "c")), Seen.ALIKE, 8 / 3),
        (Doubt("p", "mean_tpot_ms", RUNS, SWEEPS, alike=("a", "b")), Seen.SWEEPS, 3),
        (Doubt("p", "mean_ttft_ms", RUNS, alike=("a", "b")), Seen.RUNS, 7),
        (Doubt("p", "mean_tpot_ms", {}, SWEEPS), Seen.SWEEPS, 3),
        (Doubt("p", "mean_tpot_ms", {}), Seen.NOWHERE, 0),
    ],
)
def test_of_all_that_was_seen_what_comes_closest_to_the_planned_traffic_tells(
    doubt: Doubt, seen: Seen, mean: float
) -> None:
    assert doubt.seen is seen
    assert doubt.mean == pytest.approx(mean)
    if seen is not Seen.NOWHERE:
        # 4 % too fast: what took 100 ms was simulated as 96 ms.
        assert doubt.slower_at_worst == pytest.approx(100 / 0.96 - 100)


def test_steps_that_were_overrated_make_none_slower() -> None:
    assert Doubt("p", "mean_tpot_ms", {"a": 3.0, "b": -4.0}).slower == pytest.approx(8**0.5)
    over = Doubt("p", "mean_tpot_ms", {"a": 20.0})
    assert (over.slower, over.slower_at_worst) == (0, 0)


def test_requests_about_as_long_are_told_by_their_means_and_of_prompts_by_theirs_alone() -> None:
    def alike(steps: str, prompt: float, output: float) -> set[str]:
        return {run.partition("/")[2] for run in doubts(steps, {H200: load_named(H200)}, (prompt, output))[H200].alike}

    chat = {"chat-isolated", "chat-shared", "chat-shared-again", "saturated", "burst", "colocated-chat", "tp2-chat"}
    assert alike("decode", 1150, 210) <= chat
    assert alike("decode", 1150, 210) >= {"chat-isolated", "burst", "colocated-chat"}
    assert alike("decode", 5700, 40) == {"long"}
    assert alike("decode", 1150, 2000) == set()
    assert alike("prefill", 1150, 2000) == alike("prefill", 1150, 210) == {"prefill50", "prefill80", "colocated-chat"}


ERRORS = st.dictionaries(st.sampled_from("abcdef"), st.floats(-50, 50))


@given(ERRORS, ERRORS)
def test_the_typical_error_is_no_larger_than_the_worst(runs: dict[str, float], sweeps: dict[str, float]) -> None:
    doubt = Doubt("p", "mean_tpot_ms", runs, sweeps)
    assert 0 <= doubt.slower <= doubt.slower_at_worst + 1e-9


def test_each_arm_gets_slower_by_the_errors_of_its_own_profiles() -> None:
    (file,) = [file for file in SCENARIOS if file.stem == "plan-zipf"]
    scenario = checked(read_source(file))
    arm = scenario.arms[0]
    of = {stage: {BF16: Doubt(BF16, "", {"a": -error})} for stage, error in (("prefill", 10.0), ("decode", 2.0))}
    made = variants(scenario, arm, of)
    assert made[TYPICAL] == Conditions(decode_time=1.02, prefill_time=1.1)
    assert made[WORST].prefill_time == pytest.approx(1 / 0.9)
    of["decode"][BF16] = Doubt(BF16, "", {}, {"chat": 1.0, "long": -5.0})
    made = variants(scenario, arm, of)
    assert made[TYPICAL].decode_time == pytest.approx(1 + 0.05 * 0.5**0.5)
    assert made[TYPICAL].prefill_time == 1.1
    assert made[WORST].decode_time == pytest.approx(1 / 0.95)
    assert {"rate +10 %", "outputs -20 %", "alpha +0.3"} < set(made)
    none: dict[str, dict[str, Doubt]] = {"prefill": {}, "decode": {}}
    assert not {TYPICAL, WORST} & set(variants(scenario, arm, none))
