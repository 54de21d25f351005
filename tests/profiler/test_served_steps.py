"""Steps of traffic with prompts: which of them have a time of their own, and what becomes of them."""

import asyncio
import json
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from profiler import served
from profiler.chunks import attended_pairs, idle_starts_by_size
from profiler.phases.prompts import PromptPlan, colocated_traffic, first_token_points, prefill_traffic
from profiler.phases.traffic import LengthLaw
from profiler.recording import RequestStamps, Step, StepLogReader
from tests.profiler.fake_log import FakeLog


def schedule(at_s: float, tokens: int, decodes: int = 0) -> str:
    chunks = [(tokens, 0)] if tokens else []
    requests = decodes + len(chunks)
    counts = (0, 0, 0, 0, 1000, 100, 0)  # ends with the longest context and the sum of squares
    return json.dumps(["s", at_s, at_s, requests, decodes + tokens, 100 * decodes, [], chunks, *counts])


def launched(at_s: float) -> str:
    return json.dumps(["l", at_s])


def output(at_s: float) -> str:
    return json.dumps(["u", at_s, at_s])


def two_steps(second_launched_s: float, first_out_s: float) -> list[Step]:
    """A step begun at 1.000 s on an idle engine, one launched behind it, and then nothing."""
    lines = [
        schedule(1.000, 600),
        launched(1.020),
        schedule(1.021, 2000),
        launched(second_launched_s),
        output(first_out_s),
        schedule(first_out_s, 0),
        output(1.100),
        output(1.100),
    ]
    return StepLogReader().feed(lines)


def test_an_output_taken_right_after_a_launch_was_held_up_by_it() -> None:
    assert [step.held_up for step in two_steps(1.045, 1.046)] == [True, False]


def test_an_output_that_the_engine_waited_for_was_not_held_up() -> None:
    assert [step.held_up for step in two_steps(1.026, 1.046)] == [False, False]


def test_launches_in_traffic_are_those_of_all_steps_with_what_sampling_takes() -> None:
    short, long = idle_starts_by_size(two_steps(1.026, 1.046) + [*two_steps(1.026, 1.046)][1:] + idle_start(2.0, 2000))

    # 20 ms and 1 ms for the sampling; 5 ms twice behind another step, and 19 ms on an idle engine.
    assert (short["chunk_tokens"], short["launch_ms"]) == (600, [21.0])
    assert (long["chunk_tokens"], long["steps"], sorted(long["launch_ms"])) == (2000, 1, [6.0, 6.0, 20.0])


def idle_start(at_s: float, tokens: int) -> list[Step]:
    lines = [schedule(at_s, tokens), launched(at_s + 0.019), schedule(at_s + 0.020, 0), *[output(at_s + 0.050)] * 2]
    return StepLogReader().feed(lines)


def test_a_launch_does_not_hold_up_the_steps_own_output() -> None:
    lines = [schedule(1.0, 64), launched(1.010), schedule(1.011, 0), output(1.012), output(1.012)]

    (step,) = StepLogReader().feed(lines)

    assert not step.held_up
    assert step.launch_s == pytest.approx(0.011)


def test_prefill_steps_count_where_neither_their_own_output_nor_the_one_before_was_held_up() -> None:
    begun_idle, behind = served.prefill_points(two_steps(1.026, 1.046) * 4)[::-1]

    assert (begun_idle["new_tokens"], begun_idle["idle_start"], begun_idle["steps"]) == (600, True, 3)
    assert (behind["new_tokens"], behind["idle_start"], behind["steps"]) == (2000, False, 4)
    assert behind["step_ms_mean"] == pytest.approx(54.0)
    assert behind["attended_pairs"] == attended_pairs([(2000, 0)])
    assert {begun_idle["lengths"], behind["lengths"]} == {"traffic"}
    assert served.prefill_points(two_steps(1.045, 1.046) * 4) == []


def test_a_step_that_the_host_held_up_is_no_step_of_its_size() -> None:
    steps = [*two_steps(1.026, 1.046) * 4]
    steps[3] = replace(steps[3], step_s=0.2)

    (behind, *_) = served.prefill_points(steps)

    assert (behind["new_tokens"], behind["steps"], behind["step_ms_mean"]) == (2000, 3, pytest.approx(54.0))


def beside_decodes(first_launched_s: float, decode_out_s: float) -> list[Step]:
    """A decode step of 8 requests, and one with a prompt behind it."""
    lines = [schedule(1.000, 0, 8), launched(1.003), schedule(1.004, 2000, 8), launched(first_launched_s)]
    lines += [output(decode_out_s), schedule(decode_out_s, 0, 9), launched(decode_out_s + 0.003), output(1.080)]
    return StepLogReader().feed([*lines, output(1.086)])


def test_a_mixed_step_that_held_a_decode_step_up_is_timed_together_with_it() -> None:
    (both,) = served.mixed_points(beside_decodes(1.030, 1.031) * 3)
    (alone,) = served.mixed_points(beside_decodes(1.005, 1.009) * 3)

    assert (both["decode_steps_before"], both["step_ms_mean"]) == (1, pytest.approx(80.0))
    assert (alone["decode_steps_before"], alone["step_ms_mean"]) == (0, pytest.approx(71.0))
    assert (both["batch"], both["chunk_tokens"], both["context_tokens"], both["prompts"]) == (8, 2000, 808, 1)


def test_pauses_are_the_gaps_too_short_for_a_request_to_have_come_by_chance() -> None:
    log = FakeLog()
    for gap_s in (0.0015, 0.5, 0.0017, 0.0025, 0.1):
        log.step(20.0, chunks=[(500, 0)])
        log.idle(gap_s)
    log.step(20.0, chunks=[(500, 0)])
    steps = StepLogReader().feed(log.finished_lines())

    (pause,) = served.pauses(steps, "prefill")

    assert (pause["pauses"], pause["pause_ms_median"]) == (3, pytest.approx(1.7))
    assert served.pauses(steps[:2], "prefill") == []


def stamps(prompt: int, first_s: float) -> RequestStamps:
    return RequestStamps("x", "prefill", prompt, 1, 0.0, first_s + 0.002, None, 0.001, 0.002, first_s)


def test_first_tokens_are_grouped_by_how_many_came_out_of_one_step() -> None:
    one, two = first_token_points([stamps(100, 0.1), stamps(200, 0.2), stamps(400, 0.2)])

    assert (one["where"], one["batch"], one["requests"], one["prompt_tokens"]) == ("prefill", 1, 1, 100)
    assert (two["where"], two["batch"], two["requests"], two["prompt_tokens"]) == ("prefill", 2, 2, 300)
    assert two["first_token_to_client_ms"]["median"] == pytest.approx(2.0)


class CountingEngine:
    """Takes requests and serves each at once; its steps are given."""

    settings = SimpleNamespace(max_model_len=2000, num_speculative_tokens=0)
    best_prefill_tokens_per_s = 900 * math.exp(2) * 1000

    def __init__(self, steps: list[Step]) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.at_s: list[float] = []
        self._steps = steps

    async def request(self, kind: str, prompt: int, output: int, *, streamed: bool) -> RequestStamps:
        assert streamed
        self.asked.append((kind, prompt, output))
        self.at_s.append(asyncio.get_running_loop().time())
        return stamps(prompt, self.at_s[-1])

    def drain_steps(self) -> list[Step]:
        return self._steps

    async def settle(self) -> None:
        """Always settled."""


PROMPTS = LengthLaw(900, 2.0, 16, 6000)


def test_a_plan_is_a_share_of_what_the_engine_can_do() -> None:
    assert PromptPlan(PROMPTS, 0.5, 1.0).rate_rps(CountingEngine.best_prefill_tokens_per_s) == pytest.approx(500)
    with pytest.raises(ValueError, match="the warm-up did not get as far"):
        PromptPlan(PROMPTS, 0.5, 1.0).rate_rps(0.0)


def test_prefill_traffic_comes_as_planned_and_gives_all_its_points() -> None:
    engine: Any = CountingEngine(two_steps(1.026, 1.046) * 4)
    plans = (PromptPlan(PROMPTS, 1.0, 0.1), PromptPlan(PROMPTS, 1.0, 0.1, together=(4,)))

    points = asyncio.run(prefill_traffic(engine, plans))

    assert {name for name, found in points.items() if found} >= {"idle_starts", "prefill_points", "first_token_points"}
    assert {(kind, output) for kind, _, output in engine.asked} == {("prefill", 1)}
    assert max(prompt for _, prompt, _ in engine.asked) == 1999
    assert 20 < len(engine.asked) < 600
    assert {p["lengths"] for p in points["idle_starts"] + points["prefill_points"]} == {"traffic"}


def test_colocated_traffic_decodes_and_leaves_room_for_it() -> None:
    engine: Any = CountingEngine(beside_decodes(1.030, 1.031) * 3)

    plan = PromptPlan(PROMPTS, 0.5, 0.1, outputs=LengthLaw(80, 2.0, 8, 900))
    points = asyncio.run(colocated_traffic(engine, (plan,)))

    assert [point["lengths"] for point in points["mixed_points"]] == ["traffic"]
    assert all(prompt + output <= 2000 and 8 <= output <= 500 for _, prompt, output in engine.asked)
    assert len({output for _, _, output in engine.asked}) > 3
