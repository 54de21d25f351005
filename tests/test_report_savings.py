"""What a run says of the GPU-hours that elastic arms save, of what that costs, and of pools that keep their size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sunsim import load, simulate
from sunsim.metrics.pools import add_pools
from sunsim.records import ArmResult
from sunsim.report.elastic import changes, savings
from sunsim.report.format import percent
from tests.metrics.synthetic import sizes, toy_summary
from tests.scenario_files import write_scenario
from tests.test_report_elastic import HALF, arm, summary_of

WAYS = """\
name: ways
models: {count: 2}
slo: {ttft_ms: 2000}
workload:
  kind: synthetic
  duration_s: 60
  arrivals: {kind: poisson, rate_rps: 1}
  lengths: {kind: fixed, prompt_tokens: 100, output_tokens: 10}
arms:
"""


def test_the_sentence_says_what_is_saved_and_what_it_costs() -> None:
    """51 of 61 requests within the limit; of the first 30, which arrive within 1800 s, 20."""
    arms = summary_of(arm("fixed"), arm("elastic", HALF, late=10))["arms"]
    (said,) = savings(arms, 1800.0)
    assert said == (
        "elastic takes 6.11 GPU-hours, 32 % fewer than fixed (9.00): 6.11 GPUs in the mean, 9 at most, against 9 GPUs. 83.6 % "
        "(in the worst 1800 s 66.7 %) of its requests meet the SLO, 100.0 % (in the worst 1800 s 100.0 %) of fixed's: it saves "
        "GPUs and misses more of them."
    )


def test_a_saving_that_costs_nothing_and_a_cost_that_shows_in_the_worst_window_alone() -> None:
    free = summary_of(arm("fixed"), arm("elastic", HALF))
    assert savings(free["arms"], None)[0].endswith(": the saving costs no attainment.")
    entries = summary_of(arm("fixed"), arm("elastic", HALF))["arms"]
    # A little less is no more misses, and not nothing either.
    entries["elastic"]["slo_attainment"] -= 0.003
    assert savings(entries, None)[0].endswith(" of its requests meet the SLO, 100.0 % of fixed's.")
    entries["elastic"]["worst_window_slo_attainment"] = 0.9
    assert savings(entries, 600.0)[0].endswith(": it saves GPUs and misses more in its worst window.")


@pytest.fixture(scope="module")
def two_ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a scenario with isolated and shared decode, each fixed and elastic, and one that sheds besides."""
    arms = {
        "isolated": "policy: isolated, workers: 3",
        "shared": "policy: shared, workers: 3",
        "elastic": "policy: shared, workers: {min: 1, max: 3}, scaling: {kind: kv-usage, target: 0.5}",
        "each": "policy: isolated, workers: {min: 1, max: 3}, scaling: {kind: token-velocity, signal: rate}",
    }
    text = "".join(f"  - name: {name}\n    decode: {{profile: tiny.json, {pool}}}\n" for name, pool in arms.items())
    sheds = f"  - name: sheds\n    admission: {{kind: shed}}\n    decode: {{profile: tiny.json, {arms['elastic']}}}\n"
    path = write_scenario(tmp_path_factory.mktemp("ways"), WAYS + text + sheds)
    return simulate(load(path)).summary


def test_an_elastic_arm_is_compared_with_a_fixed_one_of_the_same_way(two_ways: dict[str, Any]) -> None:
    arms = two_ways["arms"]
    assert [entry.get("same_way", "-") for entry in arms.values()] == ["-", "-", "shared", "isolated", None]
    said = {text.split()[0]: text for text in savings({name: arms[name] for name in list(arms)[:4]}, None)}
    assert " than shared (" in said["elastic"]
    assert "), the same way with fixed pools: " in said["elastic"]
    assert " than isolated (" in said["each"]
    assert said["shared"].startswith("shared takes ")
    assert " isolated (" in said["shared"]
    assert "the same way" not in said["shared"]


def test_what_kv_usage_a_pool_goes_by_is_known_and_why_it_kept_its_size(two_ways: dict[str, Any]) -> None:
    """A request a second, done in less, holds a few blocks of many."""
    arms = two_ways["arms"]
    assert arms["elastic"]["pools"]["decode"]["kv_target"] == 0.5
    assert all("kv_target" not in pool for pool in arms["each"]["pools"].values())
    peak = max(worker["peak_kv_occupancy"] for worker in arms["elastic"]["workers"].values())
    (still, *_) = changes({"elastic": arms["elastic"]})
    why = f"KV is used up to {percent(peak)}, below the target of 50 %"
    assert still == f"Elastic, but never of another size: decode ({why}) in elastic."


@pytest.mark.parametrize(
    ("peak", "places", "why"),
    [
        (0.4, 3, " (KV is used up to 40 %, below the target of 80 %)"),
        (0.4, 256, " (KV is used up to 40 %, below the target of 80 %: all 256 places of a worker are taken before)"),
        (0.8, 256, ""),
        (None, 256, ""),
    ],
)
def test_a_pool_whose_kv_reaches_its_target_or_is_not_known_has_no_such_reason(
    peak: float | None, places: int, why: str
) -> None:
    entry = summary_of(arm("still", HALF.head(1)))["arms"]["still"]
    entry["pools"]["decode"]["kv_target"] = 0.8
    for worker in entry["workers"].values():
        worker |= {"peak_kv_occupancy": peak, "peak_places": places}
    assert changes({"still": entry})[0] == f"Elastic, but never of another size: decode{why} in still."


def test_what_refuses_or_carries_less_costs_something() -> None:
    entries = summary_of(arm("fixed"), arm("elastic", HALF))["arms"]
    entries["elastic"]["shed"] = 6
    assert savings(entries, None)[0].endswith(": it saves GPUs and refuses 9.8 % of the requests.")
    entries["fixed"]["shed"] = 6
    assert savings(entries, None)[0].endswith("as many as of fixed's.")
    entries["elastic"]["shed"] = entries["fixed"]["shed"] = 0
    entries["elastic"]["output_throughput_window"] *= 0.97
    assert savings(entries, None)[0].endswith(": it saves GPUs and carries less.")


def test_arms_that_keep_the_slo_are_spoken_of_before_cheaper_ones_that_do_not() -> None:
    starved = [arm(f"e{i}", HALF, late=9, prefill=i) for i in range(1, 4)]
    keeps = arm("keeps", HALF, prefill=4)
    said = savings(summary_of(arm("fixed", prefill=5), *starved, keeps)["arms"], None)
    assert [text.split()[0] for text in said] == ["e1", "e2", "keeps", "e3"]
    assert said[3] == "e3 takes fewer GPU-hours and misses more, too."


def test_no_more_than_three_arms_are_spoken_of_and_the_rest_is_not_hidden() -> None:
    arms = [arm("fixed", prefill=3), *(arm(f"e{i}", HALF, late=9, prefill=i) for i in range(1, 6))]
    said = savings(summary_of(*arms)["arms"], None)
    assert [text.split()[0] for text in said] == ["e1", "e2", "e3", "e4"]
    assert said[3] == "e4 and e5 take fewer GPU-hours and miss more, too."


def test_what_does_other_work_is_not_compared() -> None:
    both, decode = arm("both"), arm("decode", HALF)
    alone = ArmResult(decode.rows.assign(prefill_worker=None), decode.workers[1:], decode.sizes)
    assert savings(summary_of(both, alone)["arms"], None) == [
        "decode takes 5.11 GPU-hours (5.11 GPUs in the mean, 8 at most), not compared with both, which does another part of the work."
    ]


def test_as_many_gpu_hours_save_nothing_and_another_output_is_said() -> None:
    still = arm("still", sizes((0, 2, 0, 0, 0)))
    half = replace(still, rows=still.rows.assign(arm="half", output_tokens=33))
    same, less = savings(summary_of(arm("fixed"), still, half)["arms"], None)
    assert same == (
        "still takes 9.00 GPU-hours, as many as fixed (9.00): 9 GPUs, against 9 GPUs. 100.0 % of its requests meet the SLO, as "
        "many as of fixed's."
    )
    assert ": 9 GPUs, against 9 GPUs, at 0.51x the output. " in less


def test_without_limits_only_gpus_are_compared() -> None:
    arms = [arm("elastic", HALF), arm("fixed")]
    found = toy_summary(*arms)
    add_pools(found, arms)
    assert savings(found["arms"], None) == [
        "fixed takes 9.00 GPU-hours, 47 % more than elastic (6.11): 9 GPUs, against 6.11 GPUs in the mean, 9 at most."
    ]
