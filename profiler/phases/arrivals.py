"""What happens when requests arrive at a busy engine: with their KV, or with a prompt to compute."""

from dataclasses import dataclass
from typing import Any

from profiler.chunks import mixed_points
from profiler.engine import Engine
from profiler.phases.base import Background, Points, first_token_point, fitting_batch, recorded_steps
from profiler.plateaus import join_points, stall_summary

BACKGROUND_PROMPT_TOKENS = 1024
JOINED_OUTPUT_TOKENS = 11
STEPS_BETWEEN = 11


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """singles: (prompt tokens, how many) joining one at a time; groups: (requests, how many) joining at once."""

    batch: int
    singles: tuple[tuple[int, int], ...]
    groups: tuple[tuple[int, int], ...]

    @property
    def steps(self) -> int:
        """About how many steps the background lives through."""
        arrivals = sum(n for _, n in self.singles) + sum(n for _, n in self.groups)
        return 30 + arrivals * (STEPS_BETWEEN + JOINED_OUTPUT_TOKENS + 6)


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """prompts: (prompt tokens, how many) prefilled one at a time beside a steady batch."""

    batch: int
    prompts: tuple[tuple[int, int], ...]

    @property
    def steps(self) -> int:
        """About how many steps the background lives through."""
        return 30 + sum(n for _, n in self.prompts) * (STEPS_BETWEEN + 9)


def _background(engine: Engine, batch: int, steps: int, spare_tokens: int) -> Background:
    each = BACKGROUND_PROMPT_TOKENS + engine.block_size + steps
    return Background(engine, fitting_batch(engine, batch, each, spare_tokens), BACKGROUND_PROMPT_TOKENS, steps)


async def joins(engine: Engine, plan: JoinPlan) -> Points:
    """Requests whose KV has arrived join a steady batch and leave it again before the next ones come."""
    engine.drain_steps()
    most = max([n for n, _ in plan.groups], default=1)
    joining = most * (BACKGROUND_PROMPT_TOKENS + JOINED_OUTPUT_TOKENS + engine.block_size)
    spare = max([joining, *(tokens + JOINED_OUTPUT_TOKENS for tokens, _ in plan.singles)])
    first_tokens: list[dict[str, Any]] = []
    background = _background(engine, plan.batch, plan.steps, spare)
    async with background:
        for prompt_tokens, repeats in plan.singles:
            stamps = []
            for _ in range(repeats):
                stamps.append(await engine.request("decode", prompt_tokens, JOINED_OUTPUT_TOKENS, streamed=True))
                await background.after(STEPS_BETWEEN)
            first_tokens.append(first_token_point("busy", background.batch, stamps))
        for size, repeats in plan.groups:
            for _ in range(repeats):
                await engine.batch([BACKGROUND_PROMPT_TOKENS] * size, [JOINED_OUTPUT_TOKENS] * size, streamed=True)
                await background.after(STEPS_BETWEEN)
    steps = recorded_steps(engine)
    stalls = {"lengths": "joins", "run": 0, "prompt_tokens": BACKGROUND_PROMPT_TOKENS} | stall_summary(steps)
    return {"join_points": join_points(steps), "first_token_points": first_tokens, "stalls": [stalls]}


async def chunks(engine: Engine, plan: ChunkPlan) -> Points:
    """Prompts to compute arrive at a steady batch."""
    engine.drain_steps()
    first_tokens: list[dict[str, Any]] = []
    background = _background(engine, plan.batch, plan.steps, max(tokens for tokens, _ in plan.prompts) + 64)
    async with background:
        for prompt_tokens, repeats in plan.prompts:
            stamps = []
            for _ in range(repeats):
                stamps.append(await engine.request("prefill", prompt_tokens, 1, streamed=True))
                await background.after(STEPS_BETWEEN)
            first_tokens.append(first_token_point("busy", background.batch, stamps))
    return {"mixed_points": mixed_points(recorded_steps(engine)), "first_token_points": first_tokens}
