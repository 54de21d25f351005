"""When a pool grows and shrinks, by hand: what each policy wants of what it sees."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.clock import PS_PER_S
from sunsim.cluster.scaling.calm import Calm
from sunsim.cluster.scaling.oracle import Oracle, Work
from sunsim.cluster.scaling.policies import (
    Largest,
    Ratio,
    Schedule,
    blocks_in_use,
    in_flight,
    prompt_rate,
    request_rate,
    slots_running,
    time_busy,
    token_rate,
)
from sunsim.cluster.scaling.seen import Policy, Seen
from sunsim.cluster.scaling.slots import Slots
from sunsim.scenario.scaling import KVUsage, Pace

QUIET = Seen(
    now_s=30.0,
    interval_s=15.0,
    running=0,
    kv_usage=(0.0,) * 4,
    busy_s=(0.0,) * 4,
    requests=0,
    prompt_tokens=0,
    output_tokens=0,
    prompt_tokens_in_flight=0,
)


@pytest.mark.parametrize(
    ("policy", "seen", "wanted"),
    [
        # 4 workers whose places are taken to 70 % want 4 at 70 %, and 5 with a request more.
        (Ratio(slots_running(100), 0.7), {"running": 280}, 4),
        (Ratio(slots_running(100), 0.7), {"running": 281}, 5),
        # Kubernetes: ceil(4 workers * 0.5 / 0.8) = 3.
        (Ratio(time_busy, 0.8), {"busy_s": (15.0, 15.0, 0.0, 0.0)}, 3),
        # A step that was launched ahead does not make a worker busier than it can be.
        (Ratio(time_busy, 1.0), {"busy_s": (15.2, 15.2, 0.0, 0.0)}, 2),
        (Ratio(blocks_in_use, 0.8), {"kv_usage": (0.8, 0.8, 0.8, 0.8)}, 4),
        (Ratio(blocks_in_use, 0.8), {"kv_usage": (0.9, 0.9, 0.9, 0.9)}, 5),
        # 150,000 tokens at 20,000 a second are 7.5 s of work: 5 workers do it in 1.5 s.
        (Ratio(in_flight(20_000), 1.5), {"prompt_tokens_in_flight": 150_000}, 5),
        (Ratio(in_flight(20_000), 1.5), {"prompt_tokens_in_flight": 150_001}, 6),
        (Ratio(prompt_rate(10_000), 0.5), {"prompt_tokens": 300_000}, 4),
        (Ratio(token_rate(10_000), 1.0), {"prompt_tokens": 300_000, "output_tokens": 75_000}, 3),
        (Ratio(request_rate, 2.0), {"requests": 90}, 3),
        (Largest([Ratio(request_rate, 2.0), Ratio(blocks_in_use, 0.8)]), {"requests": 30, "kv_usage": (0.9,) * 4}, 5),
        (Largest([Ratio(request_rate, 2.0), Ratio(blocks_in_use, 0.8)]), {"requests": 180, "kv_usage": (0.9,) * 4}, 6),
    ],
)
def test_what_is_wanted(policy: Policy, seen: dict[str, object], wanted: int) -> None:
    assert policy.wanted(replace(QUIET, **seen)) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at_s", "wanted"), [(0.0, 2), (28_799.9, 2), (28_800.0, 6), (86_399.0, 6), (86_400.0, 2), (115_200.0, 6)]
)
def test_a_schedule_of_a_day(at_s: float, wanted: int) -> None:
    assert Schedule([(0.0, 2), (28_800.0, 6)], 86_400.0).at(at_s) == wanted


def test_without_a_period_the_last_entry_stays() -> None:
    assert Schedule([(0.0, 2), (10.0, 6)]).at(1e6) == 6


def test_work_is_spread_over_the_time_that_it_lasts() -> None:
    begins, lasts, worker = np.array([0.5, 1.0, 1.5]), np.array([0.0, 2.0, 1.0]), np.array([0.25, 1.0, 0.5])
    loads = Work(begins, lasts, worker).loads(1.0, 4)
    # All of the first in interval 0; half a worker from 1 to 3; half a worker from 1.5 to 2.5.
    assert loads == pytest.approx([0.25, 0.5 + 0.25, 0.5 + 0.25, 0.0])


@given(
    works=st.lists(st.tuples(st.floats(0, 20), st.just(0.0) | st.floats(0.001, 10), st.floats(0, 5)), max_size=20),
    bin_s=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_no_work_is_lost(works: list[tuple[float, float, float]], bin_s: float) -> None:
    begins, lasts, worker = (np.array([work[i] for work in works], dtype=np.float64) for i in range(3))
    loads = Work(begins, lasts, worker).loads(bin_s, ceil(31 / bin_s))
    assert loads.sum() * bin_s == pytest.approx(worker.sum())
    assert loads.min() >= -1e-6


def test_an_oracle_orders_ahead_and_lets_nobody_go_that_is_needed_again_soon() -> None:
    # Intervals of 10 s; a worker takes 20 s to start. 3 workers are needed from 50 to 60 s.
    loads = np.array([1, 1, 1, 1, 1, 3, 1, 1, 1, 0], dtype=np.float64)
    oracle = Oracle([loads], interval_s=10.0, start_s=20.0, target=1.0)
    wanted = [oracle.at(10.0 * i) for i in range(12)]
    # The decision at 30 s orders for 50 s; the one at 50 s still needs them; at the end nothing comes.
    assert wanted == [1, 1, 1, 3, 3, 3, 1, 1, 1, 0, 0, 0]


def test_an_oracle_takes_the_kind_of_work_that_needs_more_workers_and_fills_them_to_its_target() -> None:
    oracle = Oracle([np.array([1.0, 0.2]), np.array([0.3, 2.0])], interval_s=1.0, start_s=0.0, target=0.5)
    assert [oracle.at(0.0), oracle.at(1.0)] == [2, 4]


@given(
    loads=st.lists(st.floats(0, 9), min_size=1, max_size=40),
    start=st.integers(0, 5),
)
def test_what_an_oracle_has_ordered_is_there_when_it_is_needed(loads: list[float], start: int) -> None:
    oracle = Oracle([np.array(loads)], interval_s=1.0, start_s=float(start), target=1.0)
    wanted = [oracle.at(float(i)) for i in range(len(loads))]
    for i, load in enumerate(loads):
        # Whoever was wanted at every decision since the order that is just ready is there.
        assert min(wanted[max(0, i - start) : i + 1]) >= load - 1e-6


def test_growing_takes_the_draining_then_the_warm_then_the_lowest_that_are_off() -> None:
    slots = Slots(range(6), initial=3, warm=1)
    assert slots.resize(2, {0: 5, 1: 7, 2: 6}.__getitem__) == ([], [0])
    assert slots.sizes == (2, 0, 1, 1)
    assert slots.resize(5, lambda _: 0) == (
        [4, 5],
        [],
    )  # 0 is back, 3 is not warm any more; the reserve is one of these
    assert (slots.ready, slots.starting, slots.warm) == ([0, 1, 2, 3], [4, 5], [])
    slots.started(5)
    slots.started(4)
    assert (slots.ready, slots.warm) == ([0, 1, 2, 3, 5], [4])


@given(data=st.data())
def test_slots_are_in_one_state_and_as_many_serve_as_are_wanted_or_on_their_way(data: st.DataObject) -> None:
    most, warm = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 3))
    slots, serving = Slots(range(most), initial=data.draw(st.integers(1, most)), warm=warm), 0
    for _ in range(data.draw(st.integers(1, 15))):
        what = data.draw(st.sampled_from(["resize", "started", "drained"]))
        if what == "resize":
            serving = data.draw(st.integers(1, most))
            slots.resize(serving, lambda slot: slot % 3)
            up = len(slots.ready) + len(slots.starting) + len(slots.warm)
            assert up == min(most - len(slots.draining), serving + min(warm, most - serving))
            assert len(slots.ready) <= serving
            assert len(slots.ready) == serving or not (slots.draining or slots.warm)
        elif what == "started" and slots.starting:
            slots.started(data.draw(st.sampled_from(slots.starting)))
        elif what == "drained" and slots.draining:
            slots.drained(data.draw(st.sampled_from(slots.draining)))
        held = [*slots.ready, *slots.starting, *slots.draining, *slots.warm]
        assert len(held) == len(set(held)) == sum(slots.sizes) <= most
        assert len(slots.warm) <= warm
        assert slots.ready == sorted(slots.ready)


@given(
    wanted=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=40),
    cooldown_s=st.integers(0, 9),
    paces=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=2, max_size=2) | st.none(),
)
def test_a_pool_has_the_most_that_was_wanted_lately_as_far_as_its_paces_let_it(
    wanted: list[tuple[int, int]], cooldown_s: int, paces: list[tuple[int, int]] | None
) -> None:
    grow, shrink = [Pace(workers=most, every_s=float(every_s)) for most, every_s in paces] if paces else (None, None)
    calm = Calm(KVUsage(kind="kv-usage", cooldown_s=float(cooldown_s), grow=grow, shrink=shrink), initial=3)
    now_s, lately, told = 0, [(0, 3)], [(0, 3)]
    for after_s, number in wanted:
        now_s += after_s
        lately.append((now_s, number))
        most = max(each for at_s, each in lately if now_s - at_s <= cooldown_s)
        told.append((now_s, calm.follow(now_s * PS_PER_S, number)))
        if not paces:
            assert told[-1][1] == most
            continue
        for pace, sign in ((grow, 1), (shrink, -1)):
            assert pace
            before = [each for at_s, each in told if at_s <= now_s - pace.every_s] or [3]
            # Within one pace's time the other may have gone the other way.
            passed = [each for at_s, each in told if now_s - pace.every_s <= at_s < now_s] + [before[-1]]
            extreme = max(passed) if sign > 0 else min(passed)
            assert sign * (told[-1][1] - extreme) <= pace.workers
