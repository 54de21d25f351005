"""The error of a profile is that of the reported actual runs of its card, model and variant."""

from __future__ import annotations

import json

import pytest

from sunsim.plan.conditions import Conditions
from sunsim.plan.doubt import Doubt, doubts
from sunsim.plan.variants import TYPICAL, WORST, variants
from sunsim.scenario import checked, read_source
from sunsim.validation.folders import committed_campaigns, errors_file
from tests.golden.figures import SCENARIOS

BF16 = "h100-80gb/llama-3.1-8b-bf16"


def test_it_takes_every_reported_run_and_no_other() -> None:
    found = doubts("decode", [BF16])
    assert list(found) == [BF16]
    kept = json.loads(errors_file("h100-80gb").read_text())
    expected = {
        f"{campaign.name}/{run}"
        for campaign in committed_campaigns()
        for run in campaign.plan.runs
        if campaign.plan.purpose == "reported"
        and campaign.folder.parent.parent.name == "h100-80gb"
        and campaign.profile.stem == "llama-3.1-8b-bf16"
    }
    expected = {name for name in expected if kept[name].get("mean_tpot_ms") is not None}
    assert set(found[BF16].errors) == expected
    assert not any("calibration" in name for name in expected)
    assert all(found[BF16].errors[name] == kept[name]["mean_tpot_ms"] for name in expected)


def test_a_profile_of_ones_own_has_none() -> None:
    assert doubts("decode", ["/somewhere/mine.json"]) == {}


def test_typical_and_worst() -> None:
    doubt = Doubt("p", "mean_tpot_ms", {"a": 3.0, "b": -4.0})
    assert doubt.typical == pytest.approx(12.5**0.5)
    # 4 % too fast: what took 100 ms was simulated as 96 ms.
    assert doubt.too_fast == pytest.approx(100 / 0.96 - 100)
    assert Doubt("p", "mean_tpot_ms", {"a": 3.0}).too_fast == 0


def test_each_arm_gets_slower_by_the_errors_of_its_own_profiles() -> None:
    (file,) = [file for file in SCENARIOS if file.stem == "plan-zipf"]
    scenario = checked(read_source(file))
    arm = scenario.arms[0]
    of = {stage: {BF16: Doubt(BF16, "", {"a": -error})} for stage, error in (("prefill", 10.0), ("decode", 2.0))}
    made = variants(scenario, arm, of)
    assert made[TYPICAL] == Conditions(decode_time=1.02, prefill_time=1.1)
    assert made[WORST].prefill_time == pytest.approx(1 / 0.9)
    assert {"rate +10 %", "outputs -20 %", "alpha +0.3"} < set(made)
    none: dict[str, dict[str, Doubt]] = {"prefill": {}, "decode": {}}
    assert not {TYPICAL, WORST} & set(variants(scenario, arm, none))
