"""Timelines of one worker whose host takes time to launch steps, or stalls, worked out with pencil and paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sunsim.cluster.engine import Engine
from sunsim.latency.model import LatencyModel
from sunsim.latency.steps import WorkerTimes
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.worlds import (
    Steps,
    config,
    given,
    play,
    pool,
    prompt,
    scenario,
    serve,
    stamps,
    write_profile,
)

both = pytest.mark.parametrize("make", [Engine, StepwiseEngine], ids=["leaping", "stepping"])


@both
def test_the_launch_of_a_prompt_holds_up_the_tokens_of_the_decode_step_before_it(make: type[Engine]) -> None:
    long, short, young, late = given(6), given(2), given(1), prompt(20, output_tokens=2)
    engine = make(config(), Steps(10, token=1, launch=25, graph_launch=3, lead=2), iter(()))
    play(engine, [(0, long), (0, short), (2, young), (5, late)])
    # Launched at 0, 3 and 12: long and short (2 to 12), they and young (12 to 22), long and the prompt (22 to 52).
    # That launch ends at 37, so the tokens that were there at 22 are seen at 37. Decodes follow at 52, 62 and 72.
    assert stamps(young) == (3, 12, 37, 37)
    assert stamps(short) == (0, 2, 12, 37)
    assert stamps(late) == (12, 22, 52, 62)
    assert stamps(long) == (0, 2, 12, 82)
    assert (engine.steps, engine.busy_ps) == (6, 80)


@both
def test_a_launch_that_ends_before_the_running_step_holds_nothing_up(make: type[Engine]) -> None:
    running, late = given(3), prompt(20)
    play(make(config(), Steps(50, token=1, launch=25, lead=5), iter(())), [(0, running), (5, late)])
    # The first decode has a lead of 5. The prompt is launched from 55 to 80, while the second runs to 105.
    assert stamps(late) == (55, 105, 175, 175)
    assert stamps(running) == (0, 5, 55, 175)


@both
def test_a_place_held_by_a_token_that_is_not_seen_is_not_free(make: type[Engine]) -> None:
    short, late, waiting = given(2), prompt(20), given(1)
    engine = make(config(max_num_seqs=2), Steps(10, token=1, launch=25), iter(()))
    play(engine, [(0, short), (5, late), (5, waiting)])
    # The prompt is launched from 10 to 35 and runs from 20 to 50; short's last token is there at 20.
    assert short.last_ps == 35
    assert stamps(waiting) == (35, 50, 60, 60)
    assert stamps(late) == (10, 20, 50, 50)


@both
@pytest.mark.parametrize(
    ("launch", "first", "last"),
    [
        (15, 39, 49),  # launched at 20, runs from 9 to 39; then a decode
        (50, 55, 65),  # launched at 55, when the decode is launched and starts
    ],
)
def test_prompt_on_an_idle_worker(make: type[Engine], launch: int, first: int, last: int) -> None:
    request = prompt(20, output_tokens=2)
    engine = make(config(), Steps(10, token=1, launch=launch, lead=4), iter(()))
    play(engine, [(5, request)])
    assert stamps(request) == (5, 9, first, last)
    assert engine.busy_ps == 40


@both
@pytest.mark.parametrize(("launch", "first", "last"), [(3, 17, 37), (20, 25, 45)])
def test_decode_on_an_idle_worker(make: type[Engine], launch: int, first: int, last: int) -> None:
    request, again = given(3), given(3)
    play(make(config(), Steps(10, graph_launch=launch, lead=2), iter(())), [(5, request), (105, again)])
    assert stamps(request) == (5, 7, first, last)
    assert stamps(again) == (105, 107, 100 + first, 100 + last)


@both
def test_a_prompt_that_comes_during_a_launch_is_next(make: type[Engine]) -> None:
    a, b, c = prompt(20), prompt(30), prompt(10)
    play(make(config(), Steps(10, token=1, launch=25, lead=5), iter(())), [(0, a), (1, b), (50, c)])
    # a: launched until 25, runs from 5 to 35. b: launched until 50, runs from 35 to 75. c: until 75, from 75 to 95.
    assert stamps(a) == (0, 5, 50, 50)
    assert stamps(b) == (25, 35, 75, 75)
    assert stamps(c) == (50, 75, 95, 95)


@both
def test_a_prompt_that_comes_after_a_launch_waits_for_the_output(make: type[Engine]) -> None:
    a, b = prompt(20), prompt(30)
    play(make(config(), Steps(10, token=1, launch=25, lead=5), iter(())), [(0, a), (26, b)])
    assert stamps(a) == (0, 5, 35, 35)
    assert stamps(b) == (35, 40, 80, 80)


@both
@pytest.mark.parametrize(("tail", "first"), [(0, 30), (4, 34), (5, 35), (30, 60)])
def test_an_output_is_not_there_before_the_gpu_is_through_with_the_launch(
    make: type[Engine], tail: int, first: int
) -> None:
    request, late = prompt(15), prompt(15)
    engine = make(config(), Steps(10, token=1, launch=30, tail=tail), iter(()))
    play(engine, [(0, request), (1000, late)])
    # Launched until 30, and 25 of work.
    assert stamps(request) == (0, 0, first, first)
    assert late.first_ps == 1000 + first
    assert engine.busy_ps == 50


@both
def test_who_waits_for_an_output_with_no_step_behind_it_waits_for_the_pause_too(make: type[Engine]) -> None:
    a, b, c, d = (prompt(20) for _ in range(4))
    times = Steps(10, token=1, launch=5, pause_ps=7)
    play(make(config(), times, iter(())), [(0, a), (10, b), (69, c), (200, d)])
    # a: from 0 to 30. b: waits for a, and is decided at 37: to 67. c: comes in the pause after it. d: finds it idle.
    assert [sequence.scheduled_ps for sequence in (a, b, c, d)] == [0, 37, 74, 200]
    assert [sequence.first_ps for sequence in (a, b, c, d)] == [30, 67, 104, 230]


@both
def test_no_pause_where_a_step_follows(make: type[Engine]) -> None:
    a, b, decoding = prompt(20), prompt(20), given(3)
    play(make(config(), Steps(10, token=1, launch=5, pause_ps=1000), iter(())), [(0, a), (1, b), (20, decoding)])
    # b is launched behind a, and the decodes behind b.
    assert [sequence.first_ps for sequence in (a, b, decoding)] == [30, 60, 70]
    assert decoding.last_ps == 90


@both
def test_a_prompt_cut_into_chunks_is_launched_chunk_by_chunk(make: type[Engine]) -> None:
    request = prompt(20)
    engine = make(config(max_num_batched_tokens=8, max_num_seqs=8), Steps(10, token=1, launch=25, lead=5), iter(()))
    play(engine, [(0, request)])
    # Decisions at 0, 25 and 50; on the GPU from 5 to 23, from 30 to 48 and from 55 to 69. The last launch ends at 75.
    assert stamps(request) == (0, 5, 75, 75)
    assert (engine.steps, engine.busy_ps) == (3, 50)


@both
@pytest.mark.parametrize(
    ("stalls", "last"),
    [
        ([(33, 7)], 107),  # in the step from 30 to 40
        ([(30, 7)], 107),
        ([(40, 7)], 107),
        ([(99, 7)], 107),
        ([(100, 7)], 100),
        ([(33, 7), (35, 5)], 112),
        ([(33, 7), (46, 5)], 112),  # the second in the time that the first adds
        ([(33, 7), (47, 5)], 112),  # in the step after
        ([(33, 70), (50, 6), (60, 5), (120, 4)], 185),
    ],
)
def test_stalls_among_steady_decodes(make: type[Engine], stalls: list[tuple[int, int]], last: int) -> None:
    request = given(10)
    engine = make(config(), Steps(10), iter(stalls))
    play(engine, [(0, request)])
    assert stamps(request) == (0, 0, 10, last)
    assert (engine.steps, engine.busy_ps) == (10, last)


@both
@pytest.mark.parametrize(
    ("stalls", "decision", "start"),
    [([(33, 7)], 47, 57), ([(33, 7), (41, 5)], 52, 62), ([(33, 7), (47, 5)], 47, 62)],
)
def test_who_comes_during_a_stall_waits_for_its_end(
    make: type[Engine], stalls: list[tuple[int, int]], decision: int, start: int
) -> None:
    running, late = given(20), given(1)
    play(make(config(), Steps(10), iter(stalls)), [(0, running), (36, late)])
    assert stamps(late) == (decision, start, start + 10, start + 10)
    assert running.last_ps == 200 + sum(extra for _, extra in stalls)


def test_a_leap_over_stalls_costs_no_wake() -> None:
    engine = Engine(config(), Steps(10), iter([(33, 7), (41, 5), (80, 1)]))
    engine.submit(0, given(10))
    engine.wake(0)
    assert engine.next_wake() == 113


@both
def test_a_stall_of_an_idle_worker_is_nobodys(make: type[Engine]) -> None:
    before, after = given(1), given(1)
    engine = make(config(), Steps(10), iter([(10, 100), (15, 100), (19, 100), (25, 3)]))
    play(engine, [(0, before), (20, after)])
    assert stamps(before) == (0, 0, 10, 10)
    assert stamps(after) == (20, 20, 33, 33)


@both
def test_a_stall_before_the_gpu_starts_is_nobodys(make: type[Engine]) -> None:
    request = prompt(20, output_tokens=2)
    # In the lead of the prompt, which runs from 4 to 34, and between its end and the decode, launched at 50.
    play(make(config(), Steps(10, token=1, launch=50, lead=4), iter([(3, 100), (40, 100)])), [(0, request)])
    assert stamps(request) == (0, 4, 50, 60)


def test_a_slot_sees_the_same_stalls_in_every_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offsets: list[float] = []

    def stalls(_: LatencyModel, offset: float) -> Iterator[tuple[int, int]]:
        offsets.append(offset)
        return iter(())

    monkeypatch.setattr(LatencyModel, "stalls", stalls)
    profile = write_profile(tmp_path)
    decode = {"isolated": {"a": 1, "b": 2}, "shared": 3}
    for seed in (0, 1):
        for policy, workers in decode.items():
            pools = {
                "prefill": pool(profile, workers=2),
                "decode": pool(profile, policy=policy, workers=workers),
            }
            serve(scenario(["a", "b"], pools, seed=seed), [(0, 0, 8, 3)])
    isolated, shared, other_seed, _ = (offsets[i : i + 5] for i in range(0, 20, 5))
    assert isolated == shared
    assert len(set(isolated) | set(other_seed)) == 10
    assert all(0 <= offset < 1 for offset in offsets)


@dataclass(frozen=True)
class EvenSteps(Steps):
    """Steps of one length, with the stalls of other times."""

    times: WorkerTimes | None = None

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:
        assert self.times
        return self.times.stalls(offset)


def test_the_stalls_of_a_profile_reach_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    us = 10**6
    monkeypatch.setattr(LatencyModel, "stalls", lambda *_: iter([(15 * us, 7 * us)]))
    world = scenario(["m"], {"decode": pool(write_profile(tmp_path))})
    rows = serve(world, [(0, 0, 8, 3)], lambda times: EvenSteps(10 * us, times=times)).rows
    assert (rows["last_token_s"] * 1e6).round().tolist() == [37]


@both
@pytest.mark.parametrize(("reading", "late_first", "end"), [(1, 103, 203), (4, 106, 206), (5, 117, 217)])
def test_reading_those_who_join_shows_only_where_the_running_step_is_over_before(
    reading: int, late_first: int, end: int, make: type[Engine]
) -> None:
    running, late = given(4), given(1, prompt_tokens=12)
    play(make(config(), Steps(50, lead=2, reading=reading), iter(())), [(0, running), (1, late)])
    # One token is read, and the first step starts 2 later. Twelve tokens are read meanwhile: from 5 to 65, where each
    # takes 5, but the step ends at 57; so the next one starts at 67.
    assert stamps(late)[2] == late_first
    assert stamps(running)[3] == end
