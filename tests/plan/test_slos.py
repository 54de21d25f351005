"""Plans in which models have limits of their own, and the whole request has one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from docs.blocks import ROOT
from sunsim.plan.bench import Bench
from sunsim.plan.fastest import hopeless
from sunsim.plan.find import size_pools
from sunsim.plan.run import load
from sunsim.plan.tables import breaking, models, slos
from sunsim.plan.verdict import Verdict
from sunsim.scenario import Scenario, build_requests
from tests.plan.brute import fewest
from tests.plan.small import PLAN, invoke, loaded, simulated, write_plan

BURST = ROOT / "scenarios" / "plan-burst.yaml"
OWN = "slo={ttft_ms: 300, tpot_ms: 8, models: {m1: {tpot_ms: 8.5}, m2: {tpot_ms: 7.4, e2el_ms: 900}}}"


def smallest(scenario: Scenario, arm: int) -> tuple[int, Verdict]:
    """All GPUs of an arm's smallest pools, and the verdict on them."""
    bench = Bench(scenario, scenario.arms[arm], [])
    sizes = simulated(size_pools(bench)).sizes
    assert sizes
    verdict = simulated(bench.judge(sizes))
    assert verdict
    return sum(sizes.values()), verdict


@pytest.mark.parametrize("arm", [0, 1])
def test_with_limits_of_each_model_the_pools_are_what_a_search_of_all_sizes_finds(tmp_path: Path, arm: int) -> None:
    scenario = loaded(tmp_path, OWN)
    gpus, verdict = smallest(scenario, arm)
    assert gpus == sum(fewest(scenario, scenario.arms[arm]).values())
    assert verdict.passes
    # Stricter limits of one model alone take more than its looser ones for all.
    assert gpus > smallest(loaded(tmp_path, "slo={ttft_ms: 300, tpot_ms: 8.5}"), arm)[0]


@pytest.mark.parametrize("arm", [0, 1])
def test_equal_limits_of_each_model_are_the_same_plan(tmp_path: Path, arm: int) -> None:
    common = loaded(tmp_path)
    own = loaded(tmp_path, "slo={models: {m1: {ttft_ms: 300, tpot_ms: 8}, m2: {ttft_ms: 300, tpot_ms: 8}}}")
    (gpus, verdict), (others, same) = smallest(common, arm), smallest(own, arm)
    assert gpus == others
    assert (verdict.models, verdict.together) == (same.models, same.together)


def test_a_plan_says_whose_limit_breaks(tmp_path: Path) -> None:
    file, out = write_plan(tmp_path, PLAN.replace("seeds: 2", "seeds: 1")), tmp_path / "out"
    code, stdout, _ = invoke("plan", file, "--out", out, "--set", "slo={e2el_ms: 1000, models: {m2: {e2el_ms: 800}}}")
    assert code == 0
    text = " ".join(stdout.split())
    assert "must meet SLO E2EL 1,000 ms; of m2 E2EL 800 ms" in text
    content = json.loads((out / "plan.json").read_text())
    assert content["slo"] == {"e2el_ms": 1000, "models": {"m2": {"e2el_ms": 800}}}
    for arm in content["arms"].values():
        found = breaking(arm)
        assert found
        assert found["slo"] == "E2EL"
        for own in arm["attained"]["models"].values():
            assert own["missed"] == own["missed_e2el"]
            assert own["missed_ttft"] == own["missed_tpot"] == 0
    assert "E2EL up to\nits model's" in slos(content).headers
    of_model = models(content)
    column = of_model.headers.index("E2EL\nup to ms")
    assert [row[column] for row in of_model.rows] == ["1,000", "800"] * 2


def test_a_model_without_a_limit_on_waiting_cannot_be_planned_for(tmp_path: Path) -> None:
    file = write_plan(tmp_path)
    said = (
        "--set: slo.ttft_ms is missing for m2, must be given to plan, or e2el_ms: without a limit on waiting any pool "
    )
    found = invoke("plan", file, "--set", "slo={tpot_ms: 8, models: {m1: {e2el_ms: 900}}}")
    assert found == (2, "", f"{said}would do\n")


def test_a_limit_of_one_model_that_nothing_can_meet_is_named_with_it(tmp_path: Path) -> None:
    def found(slo: str, *more: str) -> list[tuple[str, float, list[str]]]:
        scenario = loaded(tmp_path, f"slo={slo}", *more)
        return [(each["limit"], each["limit_ms"], each["models"]) for each in hopeless(scenario, scenario.arms[0])]

    assert found("{ttft_ms: 300, models: {m2: {tpot_ms: 6}}}") == [("tpot_ms", 6, ["m2"])]
    assert found("{ttft_ms: 300, tpot_ms: 6}") == [("tpot_ms", 6, [])]
    # The limit that all have is told once, whatever else one of them has.
    assert found("{ttft_ms: 1, models: {m2: {tpot_ms: 30}}}") == [("ttft_ms", 1, [])]
    # Of 200 tokens the last is out after 199 steps of 7 ms and more.
    fixed = "workload.lengths={kind: fixed, prompt_tokens: 100, output_tokens: 200}"
    assert found("{e2el_ms: 1390}", fixed) == [("e2el_ms", 1390, [])]
    assert found("{e2el_ms: 1500}", fixed) == []


def test_the_burst_is_drawn_as_its_scenario_says() -> None:
    lines = iter(BURST.read_text().splitlines())
    next(line for line in lines if line.endswith("<<END"))
    program = []
    for line in lines:
        if line == "#   END":
            break
        program.append(line.removeprefix("#   "))
    made = subprocess.run([sys.executable, "-"], input="\n".join(program), capture_output=True, text=True, check=True)
    assert made.stdout == (BURST.parent / "traces" / "burst.csv").read_text()


@pytest.mark.parametrize("arm", [0, 1])
def test_the_burst_is_the_window_that_decides(arm: int) -> None:
    scenario = load(BURST, (), None).scenario
    arrival_s = build_requests(scenario).arrival_ps / 1e12
    busiest_s = float(arrival_s[np.argmax(np.searchsorted(arrival_s, arrival_s + 12) - np.arange(len(arrival_s)))])
    assert 595 < busiest_s < 605
    in_the_mean, verdict = smallest(load(BURST, ("plan.require=mean",), None).scenario, arm)
    in_every_window, _ = smallest(scenario, arm)
    assert (in_the_mean, in_every_window) == (4, 5)
    worst = verdict.models["code"].worst
    assert verdict.passes
    assert worst
    assert worst["share"] < 0.6
    assert 588 < worst["start_s"] < 612
