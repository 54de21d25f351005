"""Crowds that join decodes, and the steps that they hold up."""

import pytest

from profiler.arrival_cost import Crowd, arrival_points, crowds
from profiler.recording import StepLogReader
from profiler.stalls import stall_record
from tests.profiler.fake_log import FakeLog

STEP_MS = 10.0


def log_of(crowd_ms: float, joins: list[tuple[int, int]], apart: int = 40, times: int = 3) -> FakeLog:
    """Steady steps, and every so often a step that `joins` join, which takes longer by `crowd_ms`."""
    log = FakeLog()
    for _ in range(times):
        for _ in range(apart):
            log.step(STEP_MS, 4, 4000)
        log.step(STEP_MS + crowd_ms, 4, 4000, joined=joins)
    for _ in range(apart):
        log.step(STEP_MS, 4, 4000)
    log.empty()
    return log


def test_a_crowd_that_holds_a_step_up_is_a_point_with_what_it_adds() -> None:
    steps = StepLogReader().feed(log_of(7.0, [(1, 9999), (1, 6000)]).lines)

    (point,) = arrival_points(steps, "bursts")

    assert (point["traffic"], point["crowds"], point["tokens"], point["steps"]) == ("bursts", 3, 16_001, 1.0)
    assert point["step_ms"] == pytest.approx(STEP_MS)
    assert point["extra_ms"] == pytest.approx(7.0)


def test_crowds_of_other_sizes_are_other_points() -> None:
    log = log_of(0.0, [(1, 99)])
    log.lines += log_of(5.0, [(1, 19_999)]).lines

    small, large = arrival_points(StepLogReader().feed(log.lines), "bursts")

    assert (small["tokens"], small["extra_ms"]) == (100, pytest.approx(0.0))
    assert (large["tokens"], large["extra_ms"]) == (20_000, pytest.approx(5.0))


def test_joins_near_one_another_are_one_crowd_and_those_without_an_end_none() -> None:
    log = FakeLog()
    for gap in (40, 1, 40, *[1] * 20, 40):
        for _ in range(gap):
            log.step(STEP_MS, 4, 4000)
        log.step(STEP_MS, 4, 4000, joined=[(1, 499)])
    log.empty()

    # The 21 joins in between follow one another too closely to say what is usual without them.
    assert crowds(StepLogReader().feed(log.lines)) == [Crowd(40, 42, 1000), Crowd(164, 164, 500)]


def test_a_stall_that_a_join_explains_is_no_stall_of_the_host() -> None:
    steps = StepLogReader().feed(log_of(7.0, [(1, 9999)]).lines)

    assert len(stall_record(steps)["stalls"]) == 3
    assert stall_record(steps, arrivals_apart=True)["stalls"] == []
