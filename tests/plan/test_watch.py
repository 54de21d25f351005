"""A run that is ended early is one that would have missed, and one that is not is not changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sunsim.clock import PS_PER_S
from sunsim.cluster.simulation import simulate_arm
from sunsim.latency.steps import WorkerTimes
from sunsim.measured import window_of
from sunsim.metrics.rows import Requests, Window
from sunsim.metrics.slo import limits_each, meets_slo
from sunsim.plan.watch import SureMissError, Watch
from sunsim.scenario import Arm, Scenario, build_requests
from sunsim.scenario.slo import Slo
from sunsim.workload.requests import Requests as Drawn
from sunsim.workload.sessions import UNKNOWN
from tests.cluster.drawn import PROFILE
from tests.cluster.talks import Round, Talk, requests_of
from tests.cluster.worlds import Host, Hosted, Steps, pool, write_profile
from tests.cluster.worlds import scenario as two_pools
from tests.plan.small import loaded


def missed_at_the_end(scenario: Scenario, arm: int) -> list[int]:
    """Of each model, how many requests of the window miss their SLO when all is done."""
    requests = build_requests(scenario)
    result = simulate_arm(scenario, scenario.arms[arm], requests)
    rows, limits = Requests.from_rows(result.rows), limits_each(scenario.slo.limits, result.rows["model"])
    missed = window_of(scenario, requests).holds(rows.arrival_s) & ~meets_slo(rows, limits)
    return [int(missed[requests.model == model].sum()) for model in range(len(scenario.model_names))]


def ended(scenario: Scenario, arm: Arm, requests: Drawn, watch: Watch) -> SureMissError | None:
    """What ended the run early; it may also come to its end, if the last misses came after the last look."""
    try:
        simulate_arm(scenario, arm, requests, watch=watch)
    except SureMissError as error:
        return error
    return None


CASES = [
    (),
    ("workload.arrivals.rate_rps=300",),
    ("workload.arrivals.rate_rps=300", "first_token=prefill"),
    ("slo={ttft_ms: 60, tpot_ms: 7.5}",),
    ("slo={ttft_ms: 40}",),
    ("slo={e2el_ms: 330}",),
    ("slo={ttft_ms: 60, e2el_ms: 400}", "first_token=prefill", "workload.arrivals.rate_rps=200"),
    ("slo={ttft_ms: 300, tpot_ms: 8, models: {m1: {tpot_ms: 7.6}, m2: {ttft_ms: 40, e2el_ms: 500}}}",),
    ("stop={when: time, limit_s: 2.5}", "workload.arrivals.rate_rps=200"),
    ("arms=[{name: front, prefill: {profile: profile.json, policy: isolated, workers: 2}}]",),
    ("arms=[{name: back, decode: {profile: profile.json, policy: shared, workers: 1}}]", "slo.tpot_ms=7.6"),
    ("arms.1.decode.num_gpu_blocks=600", "workload.arrivals.rate_rps=150"),
    ("arms=[{name: own, colocated: {profile: profile.json, policy: isolated, workers: 2}}]", "slo.tpot_ms=10"),
]


@pytest.mark.parametrize("overrides", CASES, ids=range(len(CASES)))
def test_it_ends_exactly_those_runs_that_miss_more_than_is_allowed(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    scenario = loaded(tmp_path, *overrides)
    requests = build_requests(scenario)
    window = window_of(scenario, requests)
    for index, arm in enumerate(scenario.arms):
        missed = missed_at_the_end(scenario, index)
        for less in (0, 1):
            # What is missed at the end is just allowed, and with one less it is not.
            allowed = [max(0, n - less) for n in missed]
            watch = Watch(requests, window, scenario.slo, allowed)
            if less == 0 or allowed == missed:
                simulate_arm(scenario, arm, requests, watch=watch)
                continue
            sure = ended(scenario, arm, requests, watch)
            if sure:
                assert all(early <= late for early, late in zip(sure.missed, missed, strict=True))
                assert sure.missed[sure.model] > allowed[sure.model]


def test_overload_is_found_long_before_the_end(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, "workload.arrivals.rate_rps=400", "workload.duration_s=20")
    requests = build_requests(scenario)
    window = window_of(scenario, requests)
    with pytest.raises(SureMissError) as sure:
        simulate_arm(scenario, scenario.arms[1], requests, watch=Watch(requests, window, scenario.slo, [100, 100]))
    assert sure.value.at_s < 4


def test_a_last_token_that_is_not_out_in_time_is_missed_at_once(tmp_path: Path) -> None:
    """One request a model, of 3,000 tokens, 7 ms each: only m2's must be through within 5 s."""
    lengths = "{kind: fixed, prompt_tokens: 100, output_tokens: 3000}"
    scenario = loaded(tmp_path, "slo={ttft_ms: 2000, models: {m2: {e2el_ms: 5000}}}", f"workload.lengths={lengths}")
    drawn = build_requests(scenario)
    few = slice(2)
    two = replace(
        drawn, **{name: getattr(drawn, name)[few] for name in ("arrival_ps", "prompt_tokens", "output_tokens")}
    )
    two = replace(two, model=np.array([0, 1], drawn.model.dtype))
    arrival_s = two.arrival_ps[1] / PS_PER_S
    for arm in scenario.arms:
        sure = ended(scenario, arm, two, Watch(two, Window(0.0, 9.0), scenario.slo, [0, 0]))
        assert sure
        assert (sure.model, sure.missed) == (1, [0, 1])
        assert sure.late == {"ttft_ms": [0, 0], "tpot_ms": [0, 0], "e2el_ms": [0, 1]}
        assert arrival_s + 5 < sure.at_s <= arrival_s + 5.5


def test_it_does_not_look_where_nothing_can_have_happened(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, "workload.requests=2", "workload.duration_s=null", "measure.warmup_s=0")
    drawn = build_requests(scenario)
    months = replace(drawn, arrival_ps=np.array([0, 50 * 86_400 * PS_PER_S]))
    window = Window(0.0, 60 * 86_400.0)
    assert ended(scenario, scenario.arms[1], months, Watch(months, window, Slo(ttft_ms=0.1), [2] * 2)) is None
    sure = ended(scenario, scenario.arms[1], months, Watch(months, window, Slo(ttft_ms=0.1), [0] * 2))
    assert sure
    assert sure.at_s == 1.0


def test_watching_changes_nothing(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    requests = build_requests(scenario)
    for arm in scenario.arms:
        alone = simulate_arm(scenario, arm, requests)
        watch = Watch(requests, window_of(scenario, requests), scenario.slo, [10**6] * 2)
        watched = simulate_arm(scenario, arm, requests, watch=watch)
        assert watched.rows.equals(alone.rows)
        assert watched.workers == alone.workers


@pytest.mark.parametrize("first_token", ["decode", "prefill"])
def test_a_first_token_of_a_decode_worker_that_computed_the_prompt_is_seen(first_token: str, tmp_path: Path) -> None:
    """The second round's comes with its first step, of a tenth of a second, and its last one two seconds later."""
    profile = write_profile(tmp_path, **PROFILE)
    pools = {
        "prefill": pool(profile, policy="isolated", workers={"a": 1}),
        "decode": pool(
            profile, policy="isolated", workers={"a": 1}, enable_prefix_caching=True, append_prefill="local"
        ),
    }
    scenario = two_pools(["a"], pools, transfer={"bandwidth_gbit_s": 400.0, "latency_ms": 0.0}, first_token=first_token)
    told = requests_of(("a",), [Talk(0, [Round(0, 12, 20), Round(0, 3, 20)])])
    assert told.sessions
    alone = replace(told.sessions, previous=np.full(2, UNKNOWN, np.int32))
    requests = replace(told, arrival_ps=np.array([0, 10 * PS_PER_S]), sessions=alone)
    for ttft_ms, late in ((500, 0), (50, 2)):
        watch = Watch(requests, Window(0.0, 20.0), Slo(ttft_ms=ttft_ms), [late])
        result = simulate_arm(scenario, scenario.arms[0], requests, times_on=tenth_of_a_second, watch=watch)
        assert list(result.rows["appended"]) == ["remote", "local"]
        assert watch._missed == [late]


def tenth_of_a_second(_: WorkerTimes) -> WorkerTimes:
    return Hosted(Steps(PS_PER_S // 10), Host())
