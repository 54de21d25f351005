"""Steps as the recording scheduler writes them: read back, cut into plateaus, turned into points."""

from pathlib import Path

import numpy as np
import pytest

from profiler.chunks import attended_pairs, mixed_points, prefill_points
from profiler.plateaus import (
    Staircase,
    decode_points,
    grid_batches,
    join_points,
    leave_points,
    stall_summary,
    step_stats,
)
from profiler.recording import Run, Step, StepLog, StepLogReader, decode_runs
from tests.profiler.fake_log import FakeLog

CAPTURED = [1, 2, 4, *range(8, 257, 8), *range(272, 513, 16)]


def steady(log: FakeLog, batch: int, steps: int, step_ms: float = 10.0) -> None:
    for i in range(steps):
        log.step(step_ms, batch, batch * (100 + i))


def test_a_steps_time_runs_from_the_end_of_the_one_before() -> None:
    log = FakeLog()
    for step_ms in (10.0, 12.0, 9.0):
        log.step(step_ms, 4, 400)

    steps = StepLogReader().feed(log.finished_lines())

    assert [round(s.step_s * 1e3, 6) for s in steps] == [10.0, 12.0, 9.0]
    assert [s.idle_start for s in steps] == [True, False, False]
    assert steps[0].context_tokens == 400


def test_an_idle_engine_does_not_lengthen_the_next_step() -> None:
    log = FakeLog()
    log.step(10.0, 1, 50)
    log.idle(5.0)
    log.step(11.0, 1, 60)

    steps = StepLogReader().feed(log.finished_lines())

    assert steps[1].step_s == pytest.approx(0.011)
    assert steps[1].idle_start


def test_empty_steps_are_counted_and_left_out() -> None:
    log = FakeLog()
    log.step(10.0, 1, 50)
    log.empty()
    log.empty()

    reader = StepLogReader()

    assert len(reader.feed(log.finished_lines())) == 1
    assert reader.empty_steps == 2


def test_chunks_are_kept_apart_from_decodes() -> None:
    log = FakeLog()
    log.step(50.0, 8, 8000, chunks=[(8184, 0)])
    (step,) = StepLogReader().feed(log.finished_lines())

    assert (step.decode_requests, step.requests, step.tokens) == (8, 9, 8192)
    assert step.context_tokens == 8000
    assert step.chunks == ((8184, 0),)


def test_an_output_without_a_schedule_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a schedule"):
        StepLogReader().feed(['["u", 1.0, 1.0]'])


def test_the_file_may_be_read_in_the_middle_of_a_line(tmp_path: Path) -> None:
    log = FakeLog()
    steady(log, 2, 5)
    text = '["h", {"num_gpu_blocks": 7}]\n' + "\n".join(log.finished_lines()) + "\n"
    path = tmp_path / "steps.jsonl"
    reader = StepLog(path)
    assert reader.drain() == []

    cut = len(text) // 2
    path.write_text(text[:cut])
    first = reader.drain()
    with path.open("a") as file:
        file.write(text[cut:])
    second = reader.drain()

    assert len(first) + len(second) == 5
    assert second
    assert reader.header == {"num_gpu_blocks": 7}


def test_runs_are_cut_by_batch_joins_chunks_and_idleness() -> None:
    log = FakeLog()
    steady(log, 4, 5)
    log.step(10.0, 5, 500, joined=[(1, 99)])
    steady(log, 5, 3)
    log.step(40.0, 5, 500, joined=[(256, 0)], chunks=[(256, 0)])
    steady(log, 5, 2)
    log.idle(1.0)
    steady(log, 5, 2)

    runs = decode_runs(StepLogReader().feed(log.finished_lines()))

    assert runs == [Run(0, 5, 4), Run(5, 9, 5), Run(10, 12, 5), Run(12, 14, 5)]


def test_a_short_run_has_no_settled_steps() -> None:
    assert list(range(20))[Run(5, 8, 1).settled()] == []
    assert list(range(20))[Run(5, 12, 1).settled()] == [8, 9, 10]


def descend(stairs: Staircase, step_ms: dict[int, float], prompt: int, first_ms: float = 0.0) -> list[Step]:
    """Plays a staircase; each plateau's first step takes `first_ms` longer."""
    log = FakeLog()
    emitted = 0
    for batch in stairs.batches:
        for i in range(stairs.steps):
            joined = [(1, prompt - 1)] * batch if emitted == 0 else None
            log.step(step_ms[batch] + (first_ms if i == 0 else 0), batch, batch * (prompt + emitted), joined=joined)
            emitted += 1
    return StepLogReader().feed(log.finished_lines())


def test_output_lengths_make_the_batch_fall_in_stages() -> None:
    stairs = Staircase((5, 3, 1), steps=10)
    outputs = stairs.output_tokens()

    assert outputs == [10, 10, 20, 20, 30]
    alive = [sum(o > step for o in outputs) for step in range(30)]
    assert alive == [5] * 10 + [3] * 10 + [1] * 10


def test_peak_counts_whole_blocks_of_those_still_there() -> None:
    # First plateau: 2 requests of 100 + 10 + 1 tokens, 7 blocks each; second: one of 100 + 20 + 1, 8 blocks.
    assert Staircase((2, 1), steps=10).peak_tokens([100, 100], 16) == 14 * 16


def test_the_grid_has_both_sides_of_graph_sizes_and_tiles() -> None:
    batches = grid_batches(256, CAPTURED)

    assert batches[0] == 256
    assert batches[-1] == 1
    assert list(batches) == sorted(set(batches), reverse=True)
    assert {16, 17, 32, 33, 64, 65, 96, 97, 128, 129, 192, 193, 240, 241} <= set(batches)
    assert grid_batches(45, CAPTURED)[:3] == (45, 41, 40)


def test_one_point_a_plateau_without_its_edges() -> None:
    stairs = Staircase((4, 2, 1), steps=10)
    points = decode_points(descend(stairs, {4: 12.0, 2: 11.0, 1: 10.0}, 100, first_ms=3.0), "uniform", 1)

    assert [(p["batch"], p["step_ms_median"], p["steps"]) for p in points] == [(4, 12.0, 6), (2, 11.0, 6), (1, 10.0, 6)]
    # Steps 3 to 8 of the first plateau attend to 100 + 5.5 tokens a request on average.
    assert points[0]["context_tokens"] == round(4 * 105.5)
    assert points[0]["lengths"] == "uniform"
    assert points[0]["run"] == 1


def test_leavers_cost_is_against_the_plateau_they_leave_behind() -> None:
    stairs = Staircase((4, 2, 1), steps=10)
    points = leave_points(descend(stairs, {4: 12.0, 2: 11.0, 1: 10.0}, 100, first_ms=1.5))

    assert [(p["batch"], p["left"]) for p in points] == [(2, 2), (1, 1)]
    assert points[0]["extra_ms"] == pytest.approx([1.5, 0.0, 0.0], abs=1e-3)
    assert points[0]["extra_ms_last"] == pytest.approx(0.0, abs=1e-3)


def test_joiners_cost_is_against_the_plateau_they_are_part_of() -> None:
    log = FakeLog()
    for _ in range(10):
        log.step(10.0, 8, 800)
    log.step(14.0, 10, 1000, joined=[(1, 199), (1, 299)])
    for _ in range(10):
        log.step(11.0, 10, 1000)
    (point,) = join_points(StepLogReader().feed(log.finished_lines()))

    assert (point["batch"], point["joined"], point["prompt_tokens"]) == (10, 2, 250)
    assert point["extra_ms"] == pytest.approx([3.0, 0.0, 0.0], abs=1e-3)
    assert point["extra_ms_before"] == pytest.approx(0.0, abs=1e-3)


def test_stalls_are_kept_apart() -> None:
    log = FakeLog()
    for i in range(20):
        log.step(40.0 if i == 10 else 10.0, 8, 800)
    summary = stall_summary(StepLogReader().feed(log.finished_lines()))

    assert summary["stalled_steps"] == 1
    assert summary["worst_step_ms"] == pytest.approx(40.0)
    assert summary["excess_share"] == pytest.approx(0.03 / (15 * 0.01 + 0.04), rel=1e-3)


def test_step_stats_are_plain_numbers() -> None:
    stats = step_stats([1.0, 2.0, 3.0, 10.0])

    assert stats["step_ms_median"] == 2.5
    assert stats["step_ms_mean"] == 4.0
    assert stats["step_ms_p90"] == round(float(np.percentile([1, 2, 3, 10], 90)), 4)
    assert stats["steps"] == 4


def test_attended_pairs_of_a_chunk_count_what_came_before_it() -> None:
    assert attended_pairs([(3, 0)]) == 1 + 2 + 3
    assert attended_pairs([(2, 10)]) == 11 + 12
    assert attended_pairs([(2, 0), (2, 10)]) == 3 + 23


def test_prefill_steps_are_grouped_by_what_was_in_them() -> None:
    log = FakeLog()
    log.step(30.0, chunks=[(1024, 0)] * 2)
    for _ in range(3):
        log.step(28.0, chunks=[(1024, 0)] * 2)
    log.step(90.0, chunks=[(4096, 8192)])
    log.step(10.0, 4, 400)

    points = prefill_points(StepLogReader().feed(log.finished_lines()))

    assert [(p["prompts"], p["new_tokens"], p["context_before"], p["idle_start"], p["steps"]) for p in points] == [
        (2, 2048, 0, True, 1),
        (2, 2048, 0, False, 3),
        (1, 4096, 8192, False, 1),
    ]
    assert points[1]["step_ms_median"] == pytest.approx(28.0)


def test_a_chunk_beside_decodes_and_its_neighbours() -> None:
    log = FakeLog()
    for arrival in range(2):
        for i in range(12):
            log.step(10.0 + (2.0 if i == 11 else 0.0), 16, 16000)
        log.step(35.0 + arrival, 16, 16000, joined=[(1024, 0)], chunks=[(1024, 0)])
    for i in range(12):
        log.step(9.0 if i == 0 else 10.0, 16, 16000)

    (point,) = mixed_points(StepLogReader().feed(log.finished_lines()))

    assert (point["batch"], point["chunk_tokens"], point["chunk_context"], point["steps"]) == (16, 1024, 0, 2)
    assert point["step_ms_median"] == pytest.approx(35.5)
    assert point["previous_extra_ms"] == pytest.approx(2.0)
    assert point["next_extra_ms"] == pytest.approx(-0.5)
