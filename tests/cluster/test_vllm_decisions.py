"""The engine takes vLLM's decisions: cases that vLLM 0.24's own scheduler ran, played again.

They come from `tests.profiler.vllm_decisions`, which says what is in a line. Left out is what vLLM does otherwise or
not at all: prompts whose KV moves over a link, finished requests that keep their blocks until it is fetched, steps that
never mix models, and the millisecond that vLLM's engine core sleeps after a step without tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import KV, Sequence
from sunsim.latency.steps import Chunk, DecodeLine, Outside, StepTimes
from tests.cluster.plain_blocks import Keys
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.worlds import Steps, play

RECORDED = Path(__file__).with_name("vllm_decisions.jsonl")
CASES: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text().splitlines()]


@dataclass(frozen=True)
class Noted:
    """Step times that write down the steps with chunks that they are asked for: decodes, their context, chunks."""

    times: Steps
    asked: list[tuple[int, int, list[Chunk]]] = field(default_factory=list)

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        return self.times.decode_line(batch, context_tokens)

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        self.asked.append((batch, context_tokens, list(chunks)))
        return self.times.chunked_step(batch, context_tokens, chunks)

    @property
    def pause_ps(self) -> int:
        return self.times.pause_ps

    def launch_ps(self, tokens: int, nth: int) -> int:
        return self.times.launch_ps(tokens, nth)

    def lead_ps(self, tokens: int) -> int:
        return self.times.lead_ps(tokens)

    def tail_ps(self, tokens: int) -> int:
        return self.times.tail_ps(tokens)

    def take_in_ps(self, prompt_tokens: int) -> int:
        return self.times.take_in_ps(prompt_tokens)


class NotedStepwise(StepwiseEngine):
    """Writes down each step as vLLM's are recorded."""

    def __init__(self, config: EngineConfig, times: StepTimes, keys: Keys | None = None) -> None:
        super().__init__(config, times, (), keys)
        self.rows: list[list[Any]] = []
        self._preempted: list[int] = []

    def _preempt(self, job: Any, outcome: Outcome) -> None:
        self._preempted.append(job.sequence.request)
        super()._preempt(job, outcome)

    def _launch(self, now: int, taken: list[tuple[Any, int]], *, held: bool, launched: bool) -> int:
        if taken or self._preempted:
            counts = [tokens for _, tokens in taken]
            requests = [job.sequence.request for job, _ in taken]
            more = counts if max(counts, default=1) > 1 else []
            self.rows.append([now, self.free_blocks, requests, more, sorted(self._preempted)])
            self._preempted.clear()
        return super()._launch(now, taken, held=held, launched=launched)


def config(case: dict[str, Any]) -> EngineConfig:
    """The worker's options; where KV arrives, the blocks of preempted requests come back a step later."""
    options = dict(case["worker"])
    connector = options.pop("connector")
    return EngineConfig(
        **options, recompute=connector != "ReturningKVConnector", defer_block_free=connector is not None
    )


def replay(engine: Engine, case: dict[str, Any]) -> list[list[int]]:
    """Plays a case's requests; gives their stamps as they are recorded."""
    sequences = [
        (at, Sequence(i, 0, prompt, output, KV.GIVEN if arrived else KV.COMPUTE))
        for i, (at, prompt, output, arrived) in enumerate(case["requests"])
    ]
    play(engine, sequences)
    return [[s.scheduled_ps, s.first_ps, s.last_ps, s.preemptions] for _, s in sequences]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_engine_decides_as_vllm(case: dict[str, Any]) -> None:
    stepping_times, leaping_times = Noted(Steps(**case["times"])), Noted(Steps(**case["times"]))
    stepping, leaping = NotedStepwise(config(case), stepping_times), Engine(config(case), leaping_times)
    assert replay(cast("Engine", stepping), case) == case["stamps"]
    assert stepping.rows == case["rows"]
    assert replay(leaping, case) == case["stamps"]
    assert leaping.steps == sum(bool(taken) for _, _, taken, _, _ in case["rows"])
    assert leaping.preemptions == sum(len(preempted) for *_, preempted in case["rows"])
    assert leaping_times.asked == stepping_times.asked
