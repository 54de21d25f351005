"""What a phase is, and the checks that all of them share."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from profiler.engine import Engine
from profiler.recording import RequestStamps, Step, entered_as_decodes
from profiler.request_ids import Mark

Points = dict[str, list[dict[str, Any]]]

# A few blocks stay unused, so that a request that runs a little longer than planned preempts nobody.
RESERVED_BLOCKS = 300
PHASE_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One measurement; `measure` returns lists of points under the profile's names."""

    name: str
    measure: Callable[[Engine], Awaitable[Points]]


class PhaseError(Exception):
    """The engine did not do what the measurement rests on; its points would mislead."""


def reserved_blocks(engine: Engine) -> int:
    """Blocks to leave unused; with drafts those too that each request holds for drafts of two steps and the next ones."""
    ahead_tokens = 3 * engine.settings.num_speculative_tokens
    return RESERVED_BLOCKS + engine.settings.max_num_seqs * -(-ahead_tokens // engine.block_size)


def kv_capacity_tokens(engine: Engine) -> int:
    """Tokens that running requests may hold."""
    return (engine.num_gpu_blocks - reserved_blocks(engine)) * engine.block_size


def fitting_batch(engine: Engine, wanted: int, tokens_each: int, spare_tokens: int = 0) -> int:
    """As many requests as wanted, or as have room at `tokens_each` beside `spare_tokens` of others."""
    size = engine.block_size
    free_blocks = engine.num_gpu_blocks - reserved_blocks(engine) - -(-spare_tokens // size)
    return max(1, min(wanted, engine.settings.max_num_seqs, free_blocks // -(-tokens_each // size)))


def recorded_steps(engine: Engine) -> list[Step]:
    """The phase's steps; none of them may have preempted anyone.

    With drafts, whoever enters with one token counts as the decode that it is without: steps take as long then.
    """
    steps = [entered_as_decodes(step) for step in engine.drain_steps()]
    preempted = sum(step.preempted for step in steps)
    if preempted:
        msg = f"{preempted} requests were preempted"
        raise PhaseError(msg)
    return steps


class BackgroundSpentError(PhaseError):
    """The background has run for as many steps as its KV was sure to have room for."""


class Background:
    """A steady decode batch, and a clock that ticks with its steps."""

    def __init__(self, engine: Engine, batch: int, prompt_tokens: int, steps: int) -> None:
        self._engine = engine
        self.batch = batch
        self._prompt_tokens = prompt_tokens
        self._steps = steps
        self._tasks: list[asyncio.Task[RequestStamps]] = []
        self._ticked = asyncio.Event()
        self._random = random.Random(batch)
        self._last_tick_s = 0.0
        self._step_s = 0.01
        self.ticks = 0

    def _tick(self, tokens: Sequence[int]) -> None:
        now_s = asyncio.get_running_loop().time()
        self._step_s = min((now_s - self._last_tick_s) / len(tokens), 0.1)
        self._last_tick_s = now_s
        self.ticks += len(tokens)
        self._ticked.set()

    async def __aenter__(self) -> Self:
        together = Mark(self._engine.new_group(), self.batch)
        for i in range(self.batch):
            coroutine = self._engine.request(
                "decode",
                # Spread over a block, so that not all requests need a new block in the same step.
                self._prompt_tokens + i % self._engine.block_size,
                # Usually ended by hand before that; a guest that found no room would otherwise wait for ever.
                self._steps,
                mark=together,
                # One stream is clock enough; two hundred would make the client late.
                on_tokens=self._tick if i == 0 else None,
            )
            self._tasks.append(asyncio.create_task(coroutine))
        try:
            await self.after(10)
        except BaseException:
            await self._stop()
            raise
        return self

    async def after(self, steps: int) -> None:
        """Waits for so many steps, then for a random part of one, so that arrivals do not keep in phase with steps."""
        until = self.ticks + steps
        while self.ticks < until:
            if until > self._steps or self._tasks[0].done():
                msg = f"the background batch was to last {self._steps} steps"
                raise BackgroundSpentError(msg)
            self._ticked.clear()
            await asyncio.wait_for(self._ticked.wait(), timeout=30)
        await asyncio.sleep(self._random.random() * self._step_s)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engine.settle()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        await self._stop()
        # What was measured until then stands.
        return kind is BackgroundSpentError


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 90th percentile, ms, of seconds."""
    median, p90 = np.percentile(np.asarray(values) * 1e3, (50, 90))
    return {"median": round(float(median), 3), "p90": round(float(p90), 3)}


def first_token_point(where: str, batch: int, stamps: Sequence[RequestStamps]) -> dict[str, Any]:
    """Where the time from submission to first token went, ms: front end, queue, engine, way back."""
    legs: dict[str, list[float]] = {
        "submit_to_queued_ms": [],
        "queued_to_scheduled_ms": [],
        "scheduled_to_first_token_ms": [],
        "first_token_to_client_ms": [],
        "submit_to_client_ms": [],
    }
    for s in stamps:
        moments = (s.submit_s, s.queued_s, s.scheduled_s, s.engine_first_token_s, s.first_token_s)
        known = [m for m in moments if m is not None]
        if len(known) < len(moments):
            continue
        for name, begin, end in zip(legs, known, known[1:], strict=False):
            legs[name].append(end - begin)
        legs["submit_to_client_ms"].append(known[-1] - known[0])
    point: dict[str, Any] = {
        "where": where,
        "batch": batch,
        "kind": stamps[0].kind,
        "prompt_tokens": stamps[0].prompt_tokens,
        "requests": len(legs["submit_to_client_ms"]),
    }
    return point | {name: spread(values) for name, values in legs.items() if values}
