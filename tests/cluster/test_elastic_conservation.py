"""Whatever a pool's sizes: no request is lost, moved or served twice, or given to a worker that does not serve."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.clock import to_ps
from sunsim.cluster.scaling.elastic_worker import ElasticWorker
from sunsim.cluster.scaling.scaler import Scaler
from sunsim.cluster.sequence import Sequence
from sunsim.cluster.simulation import simulate_arm
from sunsim.cluster.world import World
from sunsim.records import ArmResult
from tests.cluster.drawn import PROFILE, Drawn, clusters, elastic_clusters
from tests.cluster.worlds import requests_of, serve, write_profile

OFF = "off"
NEXT = {
    OFF: {"starting", "ready", "warm"},  # a start may take no time
    "starting": {"ready", "warm", OFF},
    "ready": {"draining", OFF, "warm"},  # one that has nothing drains in no time
    "draining": {"ready", OFF, "warm"},
    "warm": {"ready"},
}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profile(tmp_path_factory.mktemp("profile"), **PROFILE)


class Watch:
    """Follows the workers of one scaler: their states, for how long each held its GPUs, and the requests it was given."""

    def __init__(self, world: World, scaler: Scaler, workers: list[ElasticWorker], least: int) -> None:
        self.env, self.scaler, self.least = world.env, scaler, least
        self.stage = workers[0].name.partition("/")[0]
        self.states = dict.fromkeys((worker.slot for worker in workers), OFF)
        self.since: dict[int, int] = {}
        self.held_ps = 0
        self.given: Counter[int] = Counter()
        self.note()
        changed = scaler._changed

        def watched() -> None:
            changed()
            self.note()

        scaler._changed = watched  # type: ignore[method-assign]
        for worker in workers:
            self.follow(worker)

    def follow(self, worker: ElasticWorker) -> None:
        submit = worker.submit

        def watched(sequence: Sequence) -> None:
            assert self.states[worker.slot] == "ready"
            self.given[sequence.request] += 1
            submit(sequence)

        worker.submit = watched  # type: ignore[method-assign]

    def note(self) -> None:
        slots, now_ps = self.scaler.slots, self.env.now_ps
        found = {slot: state for state in ("ready", "starting", "draining", "warm") for slot in getattr(slots, state)}
        assert len(found) == sum(slots.sizes)
        assert len(slots.ready) >= self.least
        for slot, before in self.states.items():
            state = found.get(slot, OFF)
            if state == before:
                continue
            assert state in NEXT[before], (before, state)
            self.states[slot] = state
            if before == OFF:
                self.since[slot] = now_ps
            elif state == OFF:
                self.held_ps += now_ps - self.since.pop(slot)

    def ended(self, end_ps: int) -> int:
        """GPU time until the end, in picoseconds."""
        return self.held_ps + sum(end_ps - begin_ps for begin_ps in self.since.values())


def held_of(sizes: pd.DataFrame, end_ps: int) -> int:
    """GPU time until the end as the records have it."""
    total = 0
    for _, own in sizes.groupby(["stage", "model"]):
        held = own[["ready", "starting", "draining", "warm"]].sum(axis=1).tolist()
        moments = [to_ps(at_s) for at_s in own["at_s"]] + [end_ps]
        total += sum(n * (moments[i + 1] - moments[i]) for i, n in enumerate(held))
    return total


def watched_run(drawn: Drawn, profile: Path, **blocks: Any) -> tuple[ArmResult, list[Watch], int]:
    world, watches, ends = drawn.scenario(profile, **blocks), [], []

    def watch(running: World) -> None:
        for pool in running.elastic:
            for role, scaler in pool.scalers.items():
                workers = [w for w in pool.workers if pool._routes.roles[w.slot] == role]
                own = [worker for worker in workers if isinstance(worker, ElasticWorker)]
                watches.append(Watch(running, scaler, own, world.arms[0].pools()[role.stage].bounds(role).min))
        ends.append(running.env)

    result = simulate_arm(world, world.arms[0], requests_of(world, drawn.rows), times_on=drawn.host.over, watch=watch)
    return result, watches, ends[0].now_ps


@given(drawn=elastic_clusters())
@settings(deadline=None, max_examples=60)
def test_any_elastic_cluster(drawn: Drawn, profile: Path) -> None:
    result, watches, end_ps = watched_run(drawn, profile)
    rows = result.rows
    assert (rows["outcome"] == "finished").all()
    assert len(rows) == len(drawn.rows)
    assert watches
    for stage in drawn.pools:
        given_to = sum((watch.given for watch in watches if watch.stage == stage), Counter[int]())
        served = rows["request_id"][rows[f"{'prefill' if stage == 'prefill' else 'decode'}_worker"].notna()]
        if "scaling" not in drawn.pools[stage]:
            assert not given_to
        elif stage == "prefill":  # one that decode has sent back comes again
            assert set(given_to) == set(served)
        else:
            assert given_to == Counter(served.tolist())
    assert result.sizes is not None
    assert sum(watch.ended(end_ps) for watch in watches) == held_of(result.sizes, end_ps)
    for _, sizes in result.sizes.groupby(["stage", "model"]):
        assert sizes["at_s"].iloc[0] == 0
        assert sizes["at_s"].is_monotonic_increasing
        assert sizes["at_s"].is_unique
        changes = sizes.iloc[:, 3:].diff().iloc[1:]
        assert (changes != 0).any(axis=1).all()


@given(drawn=elastic_clusters(), limit_s=st.floats(0.001, 1.0))
@settings(deadline=None, max_examples=25)
def test_any_elastic_cluster_stopped_at_any_time(drawn: Drawn, limit_s: float, profile: Path) -> None:
    result, watches, end_ps = watched_run(drawn, profile, stop={"when": "time", "limit_s": limit_s})
    assert end_ps == to_ps(limit_s)
    assert result.sizes is not None
    assert (result.sizes["at_s"] < limit_s).all()
    assert sum(watch.ended(end_ps) for watch in watches) == held_of(result.sizes, end_ps)


@given(drawn=clusters(), kind=st.sampled_from(["utilisation", "request-rate", "oracle"]))
@settings(deadline=None, max_examples=20)
def test_a_pool_of_as_many_as_it_may_have_is_a_fixed_one(drawn: Drawn, kind: str, profile: Path) -> None:
    # Of an elastic pool any worker may become a convertible one, so each has the memory and the chunks of one.
    plain = {stage: {k: v for k, v in pool.items() if k != "convertible"} for stage, pool in drawn.pools.items()}
    drawn = replace(drawn, pools=plain)
    scaling: dict[str, Any] = {"kind": kind, "interval_s": 0.01}
    scaling |= {"rps_per_worker": 1.0} if kind == "request-rate" else {}
    rigid = {}
    for stage, pool in drawn.pools.items():
        given_ = pool["workers"]
        bounds = {
            name: {"min": n, "max": n} for name, n in (given_ if isinstance(given_, dict) else {"": given_}).items()
        }
        rigid[stage] = pool | {"workers": bounds.get("", bounds), "scaling": scaling}
    fixed = serve(drawn.scenario(profile), drawn.rows, drawn.host.over)
    found = serve(replace(drawn, pools=rigid).scenario(profile), drawn.rows, drawn.host.over)
    pd.testing.assert_frame_equal(found.rows, fixed.rows, check_exact=True)
    assert found.workers == fixed.workers
    assert found.sizes is not None
    assert found.sizes["at_s"].tolist() == [0.0] * len(found.sizes)
