"""Steps of idle starts and of traffic, with launches and host stalls, turned into points."""

import json

import numpy as np
import pytest

from profiler.chunks import idle_starts, idle_starts_by_size
from profiler.phases.traffic import Sweep, first_token_points, traffic_points
from profiler.recording import RequestStamps, Step, StepLogReader
from profiler.stalls import stall_extra_ms, stall_record
from tests.profiler.fake_log import FakeLog


def schedule(at_s: float, decodes: int, chunk_tokens: int = 0) -> str:
    chunks = [(chunk_tokens, 0)] if chunk_tokens else []
    requests = decodes + len(chunks)
    return json.dumps(
        ["s", at_s, at_s + 0.001, requests, decodes + chunk_tokens, 0, [], chunks, 0, decodes, 0, 0, 1000, 0, 0]
    )


def output(at_s: float) -> str:
    return json.dumps(["u", at_s, at_s + 0.001])


def test_a_launch_lasts_until_the_engine_schedules_again_and_is_known_of_idle_starts_only() -> None:
    lines = [
        schedule(1.0, 0, 512),
        schedule(1.021, 0, 64),
        output(1.03),
        schedule(1.031, 0),
        output(1.05),
        output(1.05),
    ]

    first, second = StepLogReader().feed(lines)

    assert first.launch_s == pytest.approx(0.021)
    assert second.launch_s is None


def test_a_launch_beside_an_empty_step_lasts_until_that_steps_output_is_taken() -> None:
    lines = [schedule(1.0, 0), schedule(1.5, 3), output(1.504), output(1.51)]

    (step,) = StepLogReader().feed(lines)

    assert step.launch_s == pytest.approx(0.004)


def test_idle_starts_are_grouped_by_what_they_compute() -> None:
    lines = []
    for begin_s, launch_s in ((1.0, 0.02), (2.0, 0.04)):
        lines += [schedule(begin_s, 0, 512), schedule(begin_s + launch_s, 0), output(begin_s + 0.05)]
        lines += [output(begin_s + 0.05)]
    lines += [schedule(3.0, 1), schedule(3.004, 0), output(3.008), output(3.008)]

    decode, prefill = idle_starts(StepLogReader().feed(lines))

    assert (decode["chunk_tokens"], decode["batch"], prefill["chunk_tokens"], prefill["steps"]) == (0, 1, 512, 2)
    assert decode["launch_ms_mean"] == pytest.approx(4.0)
    assert prefill["launch_ms_mean"] == pytest.approx(30.0)
    assert prefill["launch_ms"] == [20.0, 40.0]
    assert prefill["step_ms_mean"] == pytest.approx(50.0)


def with_stall(batches: list[int], at: int, stall_ms: float) -> list[Step]:
    log = FakeLog()
    for i, batch in enumerate(batches):
        log.step(7 + 0.02 * batch + (stall_ms if i == at else 0.0), batch, 100 * batch)
    return StepLogReader().feed(log.finished_lines())


def test_the_stall_record_says_when_and_for_how_long() -> None:
    record = stall_record(with_stall([10] * 60, at=40, stall_ms=13.0))

    # The first step began on an idle engine, so it is not observed.
    assert record == {"observed_s": pytest.approx(59 * 0.0072), "stalls": [[pytest.approx(39 * 0.0072), 13.0]]}


def test_a_step_that_is_slower_because_the_batch_grew_is_no_stall() -> None:
    assert not stall_extra_ms(with_stall([10] * 30 + [50] * 30, at=-1, stall_ms=0.0)).any()


def test_traffic_has_a_point_a_batch_and_direction_without_its_stalls() -> None:
    steps = with_stall([4] * 20 + [5] * 20 + [4] * 20, at=50, stall_ms=20.0)

    points = traffic_points(Sweep(steps[30].scheduled_s, [], steps), "chat")

    assert [(p["batch"], p["run"], p["steps"]) for p in points] == [(4, 0, 19), (4, 1, 19), (5, 0, 11), (5, 1, 9)]
    assert all(p["step_ms_mean"] == pytest.approx(7 + 0.02 * p["batch"]) for p in points)
    assert {p["context_tokens"] for p in points} == {400, 500}


def test_traffic_says_how_unequal_contexts_are_and_which_steps_admit_somebody() -> None:
    log = FakeLog()
    log.step(9, 3, contexts=[50, 50, 50])
    for joined in ([], [(1, 299)], [(1, 599), (1, 9)], [], [], []):
        log.step(9, 3, contexts=[100, 200, 600], joined=joined)
    log.step(9, 2, contexts=[100, 200])

    once, point = traffic_points(Sweep(0.0, [], StepLogReader().feed(log.finished_lines())), "few")

    assert (once["batch"], once["steps"], once["context_std_tokens"]) == (2, 1, 50)
    # The first step began on an idle engine.
    assert (point["batch"], point["steps"], point["context_tokens"]) == (3, 6, 900)
    assert (point["longest_tokens"], point["context_std_tokens"]) == (
        600,
        pytest.approx(np.std([100, 200, 600]), abs=0.1),
    )
    assert (point["joined"], point["join_steps"], point["after_join_steps"]) == (3, 2, 2)


def test_first_tokens_in_traffic_are_grouped_by_how_many_emit_with_them() -> None:
    steps = with_stall([4] * 10 + [40] * 10, at=-1, stall_ms=0.0)
    stamps = []
    for step, out_s, prompt in ((steps[5], 0.001, 100), (steps[6], 0.003, 300), (steps[15], 0.008, 100)):
        moments = (step.end_s - 0.03, step.end_s - 0.02, step.end_s - 0.01, step.end_s)
        submit, queued, scheduled, first = moments
        stamps.append(
            RequestStamps("x", "decode", prompt, 9, submit, first + out_s, None, queued, scheduled, first, None)
        )

    few, many = first_token_points(Sweep(0.0, stamps, steps), "chat")

    assert (few["batch"], few["requests"], few["prompt_tokens"], many["batch"]) == (4, 2, 200, 40)
    assert few["first_token_to_client_ms"]["median"] == pytest.approx(2.0)
    assert many["first_token_to_client_ms"]["median"] == pytest.approx(8.0)
    assert {few["where"], many["where"]} == {"traffic"}


def test_idle_starts_of_any_length_are_grouped_by_powers_of_two() -> None:
    lines = []
    for begin_s, tokens in ((1.0, 513), (2.0, 1024), (3.0, 512)):
        lines += [schedule(begin_s, 0, tokens), schedule(begin_s + 0.021, 0), *[output(begin_s + 0.05)] * 2]

    short, long = idle_starts_by_size(StepLogReader().feed(lines))

    assert (short["chunk_tokens"], short["steps"], short["lengths"]) == (512, 1, "traffic")
    assert (long["chunk_tokens"], long["steps"]) == (round((513 + 1024) / 2), 2)
