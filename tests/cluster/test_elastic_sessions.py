"""Sessions on pools that grow and shrink: caches that are gone, and sessions that stay with their workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim.latency.steps import WorkerTimes
from tests.cluster.talks import Round, Talk, serve_talks
from tests.cluster.worlds import Host, Hosted, Steps, pool, scenario, write_profile

MS = 10**9


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return write_profile(tmp_path)


def steady(_: WorkerTimes) -> WorkerTimes:
    return Hosted(Steps(10 * MS), Host())


def colocated(
    profile: Path, schedule: list[list[float]], router: str, **scaling: object
) -> dict[str, dict[str, object]]:
    """Up to three workers with caches, looked at every tenth of a second and started in no time."""
    block = {"kind": "schedule", "workers": schedule, "interval_s": 0.1, "start_s": 0.0, **scaling}
    bounds = {"a": {"min": 1, "max": 3}}
    options = {"policy": "isolated", "enable_prefix_caching": True, "router": router}
    return {"colocated": pool(profile, workers=bounds, scaling=block, **options)}


def two_rounds(arrival_ps: int, think_ps: int) -> Talk:
    """64 tokens, an answer of 9, and as much again."""
    return Talk(arrival_ps, [Round(0, 64, 9), Round(0, 64, 9, think_ps)])


@pytest.mark.parametrize(
    ("schedule", "warm", "found"),
    [
        ([[0, 2], [0.3, 1], [0.5, 2]], 0, 0),  # gone at 300 ms and started anew at 500 ms
        ([[0, 2], [0.3, 1], [0.5, 2]], 2, 64),  # kept warm meanwhile
        ([[0, 2]], 0, 64),  # never gone
    ],
)
def test_what_a_worker_had_in_its_cache_is_gone_when_it_starts_again(
    schedule: list[list[float]], warm: int, found: int, profile: Path
) -> None:
    world = scenario(["a"], colocated(profile, schedule, "session-affinity", warm_workers=warm))
    # A long request on worker 0, a session on worker 1 whose second round comes after 500 ms, by affinity or load.
    talks = [Talk(0, [Round(0, 64, 200)]), two_rounds(1, 600 * MS)]
    rows = serve_talks(world, talks, steady).rows
    assert rows["decode_worker"].tolist() == ["colocated/a/0", "colocated/a/1", "colocated/a/1"]
    assert rows["cached_tokens"].tolist() == [0, 0, found]


def test_a_session_stays_with_its_worker_when_others_go(profile: Path) -> None:
    world = scenario(["a"], colocated(profile, [[0, 3], [0.3, 2]], "session-affinity"))
    # One request each; that on worker 1 ends first, so worker 1 goes, and worker 2 moves up in the order.
    talks = [Talk(0, [Round(0, 64, 100)]), Talk(1, [Round(0, 64, 1)]), Talk(2, [Round(0, 64, 40), Round(0, 64, 9, MS)])]
    rows = serve_talks(world, talks, steady).rows
    assert rows["decode_worker"].tolist() == [f"colocated/a/{i}" for i in (0, 1, 2, 2)]
    assert rows["cached_tokens"].tolist()[-1] == 96  # all full blocks of 64 + 39 tokens


@pytest.mark.parametrize("router", ["session-affinity", "prefix-affinity"])
def test_a_session_whose_worker_has_gone_finds_another(router: str, profile: Path) -> None:
    pools = colocated(profile, [[0, 2], [0.3, 1]], router)
    if router == "prefix-affinity":
        pools["colocated"]["max_imbalance"] = 32
    talks = [Talk(0, [Round(0, 64, 200)]), two_rounds(1, 600 * MS)]
    rows = serve_talks(scenario(["a"], pools), talks, steady).rows
    assert rows["decode_worker"].tolist() == [f"colocated/a/{i}" for i in (0, 1, 0)]
    assert rows["cached_tokens"].tolist() == [0, 0, 0]


def test_a_prefill_worker_s_cache_is_gone_too(profile: Path) -> None:
    block = {"kind": "schedule", "workers": [[0, 2], [0.3, 1], [0.5, 2]], "interval_s": 0.1, "start_s": 0.0}
    caching = {"enable_prefix_caching": True, "router": "session-affinity"}
    pools = {
        "prefill": pool(profile, workers={"min": 1, "max": 2}, scaling=block, **caching),
        "decode": pool(profile, enable_prefix_caching=True),
    }
    talks = [two_rounds(0, 10**12), two_rounds(1, 600 * MS)]
    rows = serve_talks(scenario(["a"], pools), talks, steady).rows
    workers = [name.rpartition("/")[2] for name in rows["prefill_worker"]]
    assert workers[0] == workers[1] == "0"
    assert rows["cached_tokens"].tolist()[:2] == [0, 64]
    assert rows["cached_tokens"].tolist()[3] == 0
