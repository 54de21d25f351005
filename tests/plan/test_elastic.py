"""Elastic pools in a plan: the loosest policy that holds, against every value that may be tried, and what is said of it."""

from __future__ import annotations

import json
import math
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import sunsim
from sunsim.plan.bench import Bench
from sunsim.plan.caveats import caveats
from sunsim.plan.conclusion import conclusion
from sunsim.plan.elastic import compared, hours, pool_table
from sunsim.plan.result import PlanResult
from sunsim.plan.run import load, use
from sunsim.plan.tables import overview, slos
from sunsim.roles import Role
from tests.plan.brute import holds
from tests.plan.small import invoke, write_plan

SCALING = "{kind: token-velocity, signal: rate, target: 0.5, start_s: 0.3, interval_s: 0.5, cooldown_s: 1}"
SCENARIO = f"""\
name: swell
models: {{count: 1}}
workload: {{kind: trace, format: csv, path: swell.csv}}
slo: {{ttft_ms: 500, tpot_ms: 7.5, worst_window_s: 3}}
arms:
- name: fixed
  prefill: {{profile: profile.json, policy: shared, workers: 1}}
  decode: {{profile: profile.json, policy: shared, workers: 1}}
- name: decode-grows
  prefill: {{profile: profile.json, policy: shared, workers: 1}}
  decode: {{profile: profile.json, policy: shared, workers: {{min: 1, max: 6}}, scaling: {SCALING}}}
- name: both-grow
  prefill: {{profile: profile.json, policy: shared, workers: {{min: 1, max: 4}}, scaling: {SCALING}}}
  decode: {{profile: profile.json, policy: shared, workers: {{min: 1, max: 6}}, scaling: {SCALING}}}
plan: {{seeds: 1, sensitivity: false, max_decode_gpus: 8, max_prefill_gpus: 8, price_per_gpu_hour: 2}}
"""


def write_swell(folder: Path) -> Path:
    """Eight seconds in which the rate of requests rises from little to much, and falls."""
    file = write_plan(folder, "", SCENARIO)
    draw = random.Random(4)
    rows, at_s = ["arrival_s,prompt_tokens,output_tokens"], 0.0
    while (at_s := at_s + draw.expovariate(90)) < 8:
        if draw.random() < 0.525 - 0.475 * math.cos(2 * math.pi * at_s / 8):
            rows.append(f"{at_s:.4f},{draw.randint(100, 600)},{draw.randint(10, 60)}")
    (folder / "swell.csv").write_text("\n".join(rows) + "\n")
    return file


@pytest.fixture(scope="module")
def swell(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder of a plan, its content, and what it printed."""
    folder = tmp_path_factory.mktemp("elastic")
    code, stdout, stderr = invoke("plan", write_swell(folder), "--out", folder / "out", "--jobs", 2)
    assert (code, stderr) == (0, "")
    return folder, json.loads((folder / "out" / "plan.json").read_text()), stdout


Swell = tuple[Path, dict[str, Any], str]


def bench_of(folder: Path, arm: str) -> Bench:
    scenario = load(folder / "small.yaml", (), None).scenario
    return Bench(scenario, next(each for each in scenario.arms if each.name == arm), [])


def place(bench: Bench, role: Role, values: dict[str, float]) -> int:
    return bench.knobs[role].values.index(values) + 1


def test_the_policy_is_the_loosest_that_holds_of_all_that_may_be_tried(swell: Swell) -> None:
    folder, content, _ = swell
    found, bench = content["arms"]["decode-grows"], bench_of(folder, "decode-grows")
    prefill, decode = bench.roles
    workers = found["workers"]["prefill"]
    least = place(bench, decode, found["elastic"]["pools"]["decode"]["values"])
    assert 1 < least < bench.most[decode]
    # From the loosest on, every value fails until the first that holds, to the end and without a watch.
    first = next(
        n for n in range(1, bench.most[decode] + 1) if holds(bench.scenario, bench, {prefill: workers, decode: n})
    )
    assert least == first


def test_both_policies_hold_and_a_step_looser_of_either_fails(swell: Swell) -> None:
    folder, content, _ = swell
    found, bench = content["arms"]["both-grow"], bench_of(folder, "both-grow")
    sizes = {role: place(bench, role, found["elastic"]["pools"][role.stage]["values"]) for role in bench.roles}
    assert len(sizes) == 2
    assert holds(bench.scenario, bench, sizes)
    assert any(size > 1 for size in sizes.values())
    for role, size in sizes.items():
        assert size == 1 or not holds(bench.scenario, bench, sizes | {role: size - 1})


@pytest.mark.parametrize("arm", ["decode-grows", "both-grow"])
def test_its_hours_and_its_share_are_those_of_the_scenario_that_it_leaves(swell: Swell, arm: str) -> None:
    folder, content, _ = swell
    found = content["arms"][arm]
    (entry,) = sunsim.simulate(sunsim.load(folder / "out" / f"{arm}.yaml")).summary["arms"].values()
    assert found["elastic"]["gpu_hours"]["all"] == pytest.approx(entry["gpu_hours"])
    assert found["elastic"]["peak_gpus"]["all"] == entry["peak_gpus"]
    assert found["elastic"]["gpu_hours_by_seed"] == [found["elastic"]["gpu_hours"]["all"]]
    assert found["gpus"]["all"] == pytest.approx(entry["mean_gpus"])
    assert found["gpus"]["all"] == pytest.approx(sum(found["gpus"][stage] for stage in ("prefill", "decode")))
    assert found["attained"]["share"] == pytest.approx(entry["slo_attainment"])
    length_h = (content["window"]["end_s"] - content["window"]["start_s"]) / 3600
    assert hours(content, found) == pytest.approx(found["gpus"]["all"] * length_h)
    assert found["cost"]["per_hour"] == pytest.approx(2 * found["gpus"]["all"])
    assert hours(content, content["arms"]["fixed"]) == pytest.approx(content["arms"]["fixed"]["gpus"]["all"] * length_h)


def of_hours(swell: Swell, **gpu_hours: float) -> dict[str, Any]:
    """The plan with other GPU-hours of its elastic arms."""
    content = deepcopy(swell[1])
    for name, held in gpu_hours.items():
        content["arms"][name.replace("_", "-")]["elastic"] |= {"gpu_hours": {"all": held}, "gpu_hours_by_seed": [held]}
    return content


def said_of(content: dict[str, Any]) -> list[str]:
    """All but what is held at the busiest, which comes last."""
    return list(compared(content, {name: arm for name, arm in content["arms"].items() if arm["passes"]}))[:-1]


def test_what_is_held_at_the_busiest_is_said_as_that_is_what_must_be_there(swell: Swell) -> None:
    content = deepcopy(swell[1])
    for name, peak in (("decode-grows", 5), ("both-grow", 7)):
        content["arms"][name]["elastic"]["peak_gpus"] = {"all": peak}
    *_, last = compared(content, content["arms"])
    assert last.startswith("At their busiest these hold: decode-grows 5 and both-grow 7 GPUs. ")


def test_it_says_which_arm_needs_the_fewest_gpu_hours_and_what_growing_saves(swell: Swell) -> None:
    content = of_hours(swell, decode_grows=0.9, both_grow=1.6)
    # Four GPUs of the fixed arm over 1,260 s are 1.4 GPU-hours.
    assert content["arms"]["fixed"]["gpus"]["all"] == 4
    content["window"] |= {"start_s": 100.0, "end_s": 1360.0}
    content["arms"]["decode-grows"]["attained"] |= {"share": 0.96, "worst_window": {"share": 0.8}}
    first, second = said_of(content)
    assert first == (
        "decode-grows, with elastic pools, needs the fewest GPU-hours: 0.9 in the 1,260 s that are measured, 36 % fewer than "
        "fixed (1.40), the same way with fixed pools. Of its requests 96.0 % (80.0 % in the worst 3 s) meet the SLO; of fixed's "
        "100.0 % (100.0 % in the worst 3 s)."
    )
    assert second.startswith(
        "both-grow needs 1.60 GPU-hours, 14 % more than fixed (1.40), the same way with fixed pools: to grow and shrink saves "
        "nothing here. Of its requests "
    )
    assert all(sentence in conclusion(content) for sentence in (first, second))
    content["arms"]["decode-grows"]["elastic"]["gpu_hours_by_seed"] = [0.3, 1.5]
    assert (
        ", the same way with fixed pools, but 0.3 to 1.50 by seed, so that is not sure. Of its" in said_of(content)[0]
    )


def test_it_says_so_where_fixed_pools_need_the_fewest(swell: Swell) -> None:
    content = of_hours(swell, decode_grows=50, both_grow=60)
    content["window"] |= {"start_s": 0.0, "end_s": 36_000.0}
    first, *others = said_of(content)
    assert first.startswith(
        "fixed, with fixed pools, needs the fewest GPU-hours: 40.0 in the 10.0 hours that are measured."
    )
    assert [" more than fixed (40.0), " in each for each in others] == [True, True]


def test_without_the_same_way_in_fixed_pools_there_is_nothing_to_compare(swell: Swell) -> None:
    content = deepcopy(swell[1])
    content["arms"]["fixed"]["passes"] = False
    assert all("; no arm that passes serves the same way with fixed pools." in each for each in said_of(content))
    content = deepcopy(swell[1])
    content["arms"]["fixed"]["policies"]["decode"] = "isolated"
    assert sum("; no arm that passes serves" in each for each in said_of(content)) == 2


def test_an_arm_that_does_one_stages_work_is_no_rival_in_hours_either(swell: Swell) -> None:
    content = of_hours(swell, decode_grows=0.9, both_grow=1.6)
    content["window"] |= {"start_s": 100.0, "end_s": 1360.0}
    # One GPU that decodes alone holds the fewest, and does not do what the others do.
    content["arms"]["fixed"] |= {"stages": ["decode"], "gpus": {"decode": 1, "all": 1}}
    assert [each.split(" ")[0] for each in said_of(content)] == ["decode-grows,", "both-grow"]


def test_elastic_pools_are_not_told_to_be_deployed(swell: Swell) -> None:
    for name in swell[1]["arms"]:
        content = deepcopy(swell[1])
        content["arms"] = {name: content["arms"][name]}
        told = use(Path("out"), PlanResult(content, ""))
        assert told
        assert f"`sunsim run out/{name}.yaml`." in told
        assert ("sunsim export" in told) == (name == "fixed")


def test_a_plan_of_fixed_pools_says_nothing_of_hours(swell: Swell) -> None:
    content = deepcopy(swell[1])
    content["arms"] = {"fixed": content["arms"]["fixed"]}
    assert said_of(content) == []
    assert "hours" not in " ".join([*conclusion(content), *overview(content).headers, *caveats(content)])


def test_tables_have_means_and_what_the_policies_are_given(swell: Swell) -> None:
    content = swell[1]
    found = content["arms"]["decode-grows"]
    target = f"target {found['elastic']['pools']['decode']['values']['target']:g}"
    rows = {(row[0], row[1]): row[2:] for row in pool_table(content).rows}
    assert rows["decode-grows", "prefill"][:2] == ("fixed", "-")
    assert rows["decode-grows", "decode"][:2] == ("token-velocity", target)
    assert rows["decode-grows", "all"][-1] == f"{found['cost']['per_hour']:.2f}"
    of_arm = {row[0]: dict(zip(overview(content).headers, row, strict=True)) for row in overview(content).rows}
    assert of_arm["decode-grows"]["decode\nGPUs"] == f"{found['gpus']['decode']:.2f}"
    assert of_arm["fixed"]["decode\nGPUs"] == str(content["arms"]["fixed"]["gpus"]["decode"])
    (less,) = (each for each in found["one_less"] if "looser" in each)
    row = next(row for row in slos(content).rows if row[0] == f"  decode with target {less['looser']['target']:g}")
    assert row[1] == "-"
    breaks = f"with target {less['looser']['target']:g} for decode, the TPOT limit of m1"
    assert any(breaks in sentence for sentence in conclusion(content))
    assert any("tried in steps of 10 %" in each for each in caveats(content))


def test_an_arm_whose_tightest_policy_fails_has_no_plan(tmp_path: Path) -> None:
    arm = f"{{name: a, decode: {{profile: profile.json, policy: shared, workers: {{min: 1, max: 1}}, scaling: {SCALING}}}}}"
    file, out = write_swell(tmp_path), tmp_path / "out"
    code, stdout, _ = invoke("plan", file, "--out", out, "--jobs", 1, "--set", f"arms=[{arm}]")
    content = json.loads((out / "plan.json").read_text())
    assert code == 3
    assert content["arms"]["a"]["gpus"] is None
    assert content["arms"]["a"]["reason"] == "no pass in range"
    said = "even the tightest policies that were tried fail, within the pools' max"
    assert f"a: no plan ({said})." in " ".join(stdout.split())


@pytest.mark.parametrize(("slo", "points", "passes"), [("tpot_ms=7.5", 99, True), ("tpot_ms=1", 1, False)])
def test_pools_that_a_schedule_sizes_are_taken_as_they_are(
    tmp_path: Path, slo: str, points: int, *, passes: bool
) -> None:
    arm = (
        "{name: a, decode: {profile: profile.json, policy: shared, workers: {min: 1, max: 4}, scaling: "
        "{kind: schedule, workers: [[0, 2], [2, 4], [6, 2]], start_s: 0.5, interval_s: 0.5}}}"
    )
    plan = f"plan={{size: none, seeds: 1, price_per_gpu_hour: 2, budget: {{points: {points}}}}}"
    given = (plan, f"arms=[{arm}]", f"slo.{slo}")
    out = tmp_path / "out"
    invoke(
        "plan", write_swell(tmp_path), "--out", out, "--jobs", 1, *(word for one in given for word in ("--set", one))
    )
    content = json.loads((out / "plan.json").read_text())
    found = content["arms"]["a"]
    window = content["window"]
    # Two workers, four from the decision at 2 s to that at 6 s, where idle ones are released at once; busy ones are a little later.
    held_s = 2 * (window["end_s"] - window["start_s"]) + 2 * 4
    assert held_s <= found["elastic"]["gpu_hours"]["all"] * 3600 < held_s + 2 * 1.5
    assert found["elastic"]["peak_gpus"] == {"decode": 4, "all": 4}
    assert found["elastic"]["pools"]["decode"] == {"kind": "schedule", "values": {}}
    # What is held is told of an arm that fails, too.
    assert (found["passes"], bool(found["rates"]["passes"])) == (passes, passes)
