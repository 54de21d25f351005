"""Pools that grow and shrink, to the picosecond: orders, starts, draining, reserves; and the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sunsim.clock import to_ps
from sunsim.latency.steps import WorkerTimes
from sunsim.records import SIZE_COLUMNS, ArmResult
from sunsim.scenario import Scenario
from tests.cluster.worlds import Host, Hosted, Steps, pool, scenario, serve, write_profile

MS = 10**9
STEP_MS = 10
Size = tuple[float, ...]


def steady(_: WorkerTimes) -> WorkerTimes:
    """Every step takes the same time, so an only request's token is out every `STEP_MS`."""
    return Hosted(Steps(STEP_MS * MS), Host())


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return write_profile(tmp_path)


def elastic(
    profile: Path,
    schedule: list[list[float]],
    most: int = 3,
    pool_options: dict[str, Any] | None = None,
    **scaling: Any,
) -> dict[str, Any]:
    """A shared pool of 1 to `most` workers by a schedule of seconds and numbers, looked at every 100 ms."""
    block = {"kind": "schedule", "workers": schedule, "interval_s": 0.1, "start_s": 0.25, **scaling}
    return pool(profile, workers={"min": 1, "max": most}, scaling=block, **(pool_options or {}))


def decode_only(profile: Path, schedule: list[list[float]], most: int = 3, **scaling: Any) -> Scenario:
    return scenario(["a"], {"decode": elastic(profile, schedule, most, **scaling)})


def sizes(result: ArmResult, stage: str = "decode") -> list[Size]:
    """When a pool had how many workers ready, starting, draining and warm; milliseconds."""
    assert result.sizes is not None
    assert list(result.sizes) == [column.name for column in SIZE_COLUMNS]
    own = result.sizes[result.sizes["stage"] == stage].iloc[:, 2:]
    return [(at_s * 1000, *map(int, numbers)) for at_s, *numbers in own.to_numpy().tolist()]


def slots(result: ArmResult, stage: str = "decode") -> list[int]:
    """Which worker each request went to."""
    return [int(name.rpartition("/")[2]) for name in result.rows[f"{stage}_worker"]]


def test_an_order_is_given_at_the_next_decision_and_served_when_the_worker_is_up(profile: Path) -> None:
    arrivals = [0, 450 * MS - 1, 450 * MS, 450 * MS + 1]
    result = serve(decode_only(profile, [[0, 1], [0.15, 2]]), [(at_ps, 0, 1, 100) for at_ps in arrivals], steady)
    assert sizes(result) == [(0, 1, 0, 0, 0), (200, 1, 1, 0, 0), (450, 2, 0, 0, 0)]
    # What comes at the very moment comes before the worker is up.
    assert slots(result) == [0, 0, 0, 1]


def test_a_worker_that_has_nothing_goes_at_once(profile: Path) -> None:
    result = serve(decode_only(profile, [[0, 2], [0.1, 1]]), [(0, 0, 1, 50), (1, 0, 1, 5)], steady)
    assert slots(result) == [0, 1]
    assert sizes(result) == [(0, 2, 0, 0, 0), (100, 1, 0, 0, 0)]


def test_a_worker_that_has_requests_goes_when_it_has_ended_them(profile: Path) -> None:
    rows = [(0, 0, 1, 20), (1, 0, 1, 30), (150 * MS, 0, 1, 5), (160 * MS, 0, 1, 5)]
    result = serve(decode_only(profile, [[0, 2], [0.1, 1]]), rows, steady)
    # Both have one request: the highest slot goes. It gets no more, though it has fewer requests than the other.
    assert slots(result) == [0, 1, 0, 0]
    assert [to_ps(at_ms / 1000) for at_ms, *_ in sizes(result)] == [0, 100 * MS, 300 * MS + 1]
    assert [size[1:] for size in sizes(result)] == [(2, 0, 0, 0), (1, 0, 1, 0), (1, 0, 0, 0)]


def test_the_one_with_the_fewest_requests_goes_first(profile: Path) -> None:
    rows = [(0, 0, 1, 20), (1, 0, 1, 30), (2, 0, 1, 30), (3, 0, 1, 30), (4, 0, 1, 30)]
    result = serve(decode_only(profile, [[0, 3], [0.1, 2]]), rows, steady)
    assert slots(result) == [0, 1, 2, 0, 1]
    gone = result.rows["last_token_s"][2]
    assert sizes(result)[1:] == [(100, 2, 0, 1, 0), (gone * 1000, 2, 0, 0, 0)]


def test_a_draining_worker_is_taken_back_at_once(profile: Path) -> None:
    rows = [(0, 0, 1, 20), (1, 0, 1, 30), (210 * MS, 0, 1, 20)]
    result = serve(decode_only(profile, [[0, 2], [0.1, 1], [0.2, 2]]), rows, steady)
    assert sizes(result) == [(0, 2, 0, 0, 0), (100, 1, 0, 1, 0), (200, 2, 0, 0, 0)]
    assert slots(result) == [0, 1, 0]


def test_a_worker_that_is_starting_is_cancelled_at_once_the_last_ordered_first(profile: Path) -> None:
    result = serve(decode_only(profile, [[0, 1], [0.1, 3], [0.2, 2]]), [(0, 0, 1, 60), (500 * MS, 0, 1, 5)], steady)
    assert sizes(result) == [(0, 1, 0, 0, 0), (100, 1, 2, 0, 0), (200, 1, 1, 0, 0), (350, 2, 0, 0, 0)]
    assert slots(result) == [0, 1]


def test_a_cancelled_worker_that_is_ordered_again_starts_anew(profile: Path) -> None:
    result = serve(decode_only(profile, [[0, 1], [0.1, 2], [0.2, 1], [0.3, 2]]), [(0, 0, 1, 80)], steady)
    assert sizes(result) == [
        (0, 1, 0, 0, 0),
        (100, 1, 1, 0, 0),
        (200, 1, 0, 0, 0),
        (300, 1, 1, 0, 0),
        (550, 2, 0, 0, 0),
    ]


def test_a_warm_worker_serves_at_once_and_another_is_warmed(profile: Path) -> None:
    world = decode_only(profile, [[0, 1], [0.1, 2]], warm_workers=1)
    result = serve(world, [(0, 0, 1, 60), (100 * MS + 1, 0, 1, 5)], steady)
    assert sizes(result) == [(0, 1, 0, 0, 1), (100, 2, 1, 0, 0), (350, 2, 0, 0, 1)]
    assert slots(result) == [0, 1]


def test_a_worker_that_has_drained_stays_warm_where_the_reserve_lacks_one(profile: Path) -> None:
    world = decode_only(profile, [[0, 2], [0.1, 1], [0.3, 2]], most=2, warm_workers=1)
    result = serve(world, [(0, 0, 1, 40)], steady)
    assert sizes(result) == [(0, 2, 0, 0, 0), (100, 1, 0, 0, 1), (300, 2, 0, 0, 0)]


def test_a_pool_shrinks_only_to_the_most_that_was_wanted_lately(profile: Path) -> None:
    world = decode_only(profile, [[0, 3], [0.1, 2], [0.2, 1]], cooldown_s=0.25)
    # 3 were wanted at 0, which counts up to 250 ms; 2 at 100 ms, up to 350 ms; 1 from then on.
    result = serve(world, [(0, 0, 1, 60)], steady)
    assert sizes(result) == [(0, 3, 0, 0, 0), (300, 2, 0, 0, 0), (400, 1, 0, 0, 0)]


def test_a_pool_changes_at_its_pace(profile: Path) -> None:
    pace = {"workers": 1, "every_s": 0.25}
    # A change at 100 ms counts until 350 ms.
    grows = decode_only(profile, [[0, 1], [0.1, 3]], start_s=0.0, grow=pace)
    assert sizes(serve(grows, [(0, 0, 1, 60)], steady)) == [(0, 1, 0, 0, 0), (100, 2, 0, 0, 0), (400, 3, 0, 0, 0)]
    shrinks = decode_only(profile, [[0, 3], [0.1, 1]], shrink=pace)
    assert sizes(serve(shrinks, [(0, 0, 1, 60)], steady)) == [(0, 3, 0, 0, 0), (100, 2, 0, 0, 0), (400, 1, 0, 0, 0)]


def test_a_pool_that_was_too_slow_does_not_grow_when_it_is_not_wanted_any_more(profile: Path) -> None:
    pace = {"workers": 1, "every_s": 0.15}
    world = decode_only(profile, [[0, 1], [0.1, 3], [0.2, 1]], start_s=0.0, cooldown_s=0.35, grow=pace)
    # 3 were wanted at 100 ms, which counts up to 450 ms: until then it neither grows nor shrinks.
    assert sizes(serve(world, [(0, 0, 1, 60)], steady)) == [(0, 1, 0, 0, 0), (100, 2, 0, 0, 0), (500, 1, 0, 0, 0)]


def test_a_schedule_begins_again_after_its_period(profile: Path) -> None:
    world = decode_only(profile, [[0, 1], [0.2, 2]], period_s=0.4, start_s=0.0)
    result = serve(world, [(0, 0, 1, 85)], steady)
    assert sizes(result) == [(at_ms, 1 + i % 2, 0, 0, 0) for i, at_ms in enumerate(range(0, 850, 200))]


def test_a_prefill_worker_goes_when_its_kv_has_been_pulled(profile: Path) -> None:
    pools = {"prefill": elastic(profile, [[0, 2], [0.1, 1]], 2), "decode": pool(profile)}
    transfer = {"bandwidth_gbit_s": 400.0, "latency_ms": 300.0}
    world = scenario(["a"], pools, transfer=transfer)
    result = serve(world, [(0, 0, 10, 2), (1, 0, 10, 2)], steady)
    rows = result.rows
    assert slots(result, "prefill") == [0, 1]
    assert rows["prefill_end_s"][1] < 0.1
    assert rows["transfer_end_s"][1] > 0.3
    assert sizes(result, "prefill") == [
        (0, 2, 0, 0, 0),
        (100, 1, 0, 1, 0),
        (rows["transfer_end_s"][1] * 1000, 1, 0, 0, 0),
    ]


def test_a_request_sent_back_for_its_kv_returns_to_its_draining_worker(profile: Path) -> None:
    # 6 blocks of 16 tokens and two requests that grow to 3 each and more: one is sent back to prefill.
    scarce = {"num_gpu_blocks": 6, "max_model_len": 80}
    pools = {
        "prefill": pool(profile),
        "decode": elastic(profile, [[0, 2], [0.1, 1]], 2, pool_options=scarce, interval_s=0.05),
    }
    result = serve(scenario(["a"], pools), [(at, 0, 16, 60) for at in range(4)], steady)
    assert slots(result) == [0, 1, 0, 1]
    own = result.rows[result.rows["decode_worker"] == "decode/shared/1"]
    assert own["preemptions"].sum() > 0
    assert own["decode_scheduled_s"].max() < 0.1
    assert sizes(result)[1:] == [(100, 1, 0, 1, 0), (own["last_token_s"].max() * 1000, 1, 0, 0, 0)]


def test_each_model_s_own_pool_has_its_own_policy_and_bounds(profile: Path) -> None:
    workers = {"a": {"min": 1, "max": 3}, "b": {"min": 2, "max": 2}}
    scaling = {"kind": "request-rate", "rps_per_worker": 10.0, "interval_s": 0.1, "start_s": 0.05, "cooldown_s": 0.0}
    world = scenario(["a", "b"], {"colocated": pool(profile, policy="isolated", workers=workers, scaling=scaling)})
    rows = sorted((at * 40 * MS, at % 2, 16, 10) for at in range(10))
    result = serve(world, rows, steady)
    assert result.sizes is not None
    # Of a come 2, 1, 1 and 1 requests in the first intervals of a tenth of a second.
    found = {model: own.iloc[:, 2:].to_numpy().tolist() for model, own in result.sizes.groupby("model")}
    assert found["b"] == [[0, 2, 0, 0, 0]]
    assert found["a"][:3] == [[0, 1, 0, 0, 0], [0.1, 1, 1, 0, 0], [0.15, 2, 0, 0, 0]]


def test_a_pool_settles_where_the_load_is_its_target(profile: Path) -> None:
    scaling = {"kind": "utilisation", "target": 0.5, "interval_s": 0.1, "start_s": 0.1, "cooldown_s": 0.3}
    block = pool(profile, workers={"min": 1, "max": 6}, scaling={"initial": 6, **scaling}, max_num_seqs=16)
    # Little's law: 100 requests a second stay for 10 steps of 10 ms, and up to 3 more until they are taken in, so 10 to 13
    # run. At half of 16 places each that takes 2 workers.
    result = serve(scenario(["a"], {"decode": block}), [(i * 10 * MS, 0, 1, 10) for i in range(300)], steady)
    at_ms, *numbers = sizes(result)[-1]
    assert numbers == [2, 0, 0, 0]
    assert at_ms < 1000


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_closed_loop_ends(concurrency: int, profile: Path) -> None:
    scaling = {"kind": "utilisation", "target": 0.1, "interval_s": 0.05, "start_s": 0.02, "cooldown_s": 0.1}
    world = scenario(["a"], {"decode": pool(profile, workers={"min": 1, "max": 3}, scaling=scaling, max_num_seqs=8)})
    result = serve(world, [(0, 0, 1, 10)] * 30, steady, concurrency=concurrency)
    assert (result.rows["outcome"] == "finished").all()
    # A place is 1/8 of a worker, so one request wants 2 workers at a tenth, and four want more than there are.
    assert max(ready for _, ready, *_ in sizes(result)) == min(3, concurrency + 1)


def test_a_run_that_is_stopped_says_nothing_of_later(profile: Path) -> None:
    world = scenario(
        ["a"],
        {"decode": elastic(profile, [[0, 1], [0.1, 2], [0.5, 3]])},
        stop={"when": "time", "limit_s": 0.3},
    )
    result = serve(world, [(0, 0, 1, 100)], steady)
    assert sizes(result) == [(0, 1, 0, 0, 0), (100, 1, 1, 0, 0)]


def test_a_fixed_pool_has_no_sizes(profile: Path) -> None:
    assert serve(scenario(["a"], {"decode": pool(profile)}), [(0, 0, 1, 1)]).sizes is None
