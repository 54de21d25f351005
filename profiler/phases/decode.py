"""Decode steps of steady batches: they shrink in stages through all graph sizes."""

import itertools
from collections.abc import Callable
from typing import Any

from profiler.engine import Engine
from profiler.phases.base import PhaseError, Points, kv_capacity_tokens, recorded_steps
from profiler.plateaus import (
    Staircase,
    decode_points,
    grid_batches,
    grid_batches_with_drafts,
    leave_points,
    stall_summary,
)
from profiler.stalls import stall_record

# Sixteen of them count: the first three and the last are too near to those who leave.
PLATEAU_STEPS = 20
EXTREME_STEPS = 44


def even_prompts(context: int, batch: int, block_size: int) -> list[int]:
    """Prompt lengths around `context`, spread over one block so that blocks do not fill up in the same step."""
    return [max(2, context - block_size // 2 + i % block_size) for i in range(batch)]


def _sizes(engine: Engine, largest: int) -> tuple[int, ...]:
    drafts = engine.settings.num_speculative_tokens
    if not drafts:
        return grid_batches(largest, engine.capture_sizes)
    return grid_batches_with_drafts(largest, engine.capture_sizes, 1 + drafts)


def _staircase(
    engine: Engine, steps: int, prompts: Callable[[int], list[int]], batches: tuple[int, ...] | None
) -> tuple[Staircase, list[int]]:
    """The tallest staircase whose KV fits, and the requests of which end in time, and their prompt lengths."""
    limit, longest = kv_capacity_tokens(engine), engine.settings.max_model_len
    at_start = itertools.accumulate(prompts(engine.settings.max_num_seqs))
    bound = sum(1 for tokens in at_start if tokens <= limit)
    for largest in range(bound, 0, -1):
        sizes = batches or _sizes(engine, largest)
        stairs = Staircase(tuple(b for b in sizes if b <= largest), steps)
        if not stairs.batches:
            continue
        lengths = prompts(stairs.batches[0])
        fits = max(lengths) + stairs.output_tokens()[-1] <= longest
        if fits and stairs.peak_tokens(lengths, engine.block_size) <= limit:
            return stairs, lengths
    msg = "no batch fits"
    raise PhaseError(msg)


async def _descend(
    engine: Engine, stairs: Staircase, prompts: list[int], lengths: str, run: int, **more: Any
) -> Points:
    engine.drain_steps()
    await engine.batch(prompts, stairs.output_tokens())
    await engine.settle()
    steps = recorded_steps(engine)
    return {
        "decode_points": decode_points(steps, lengths, run, **more),
        "leave_points": leave_points(steps),
        "stalls": [{"lengths": lengths, "run": run, "prompt_tokens": max(prompts)} | stall_summary(steps)],
        "host_stalls": [{"phase": f"decode {lengths} {max(prompts)}"} | stall_record(steps)],
    }


async def even(
    engine: Engine,
    context: int,
    *,
    run: int = 0,
    steps: int = PLATEAU_STEPS,
    batches: tuple[int, ...] | None = None,
) -> Points:
    """All prompts of about one length, tokens."""

    def prompts(batch: int) -> list[int]:
        return even_prompts(context, batch, engine.block_size)

    stairs, drawn = _staircase(engine, steps, prompts, batches)
    return await _descend(engine, stairs, drawn, "uniform", run)


async def extreme(engine: Engine, *, batch: int, longest: int, longest_tokens: int, mean_tokens: int) -> Points:
    """A few very long prompts among short ones, at the total context of an even batch."""
    short = (batch * mean_tokens - longest * longest_tokens) // (batch - longest)
    prompts = [short] * (batch - longest) + [longest_tokens] * longest
    stairs = Staircase((batch,), EXTREME_STEPS)
    if stairs.peak_tokens(prompts, engine.block_size) > kv_capacity_tokens(engine):
        return {}
    return await _descend(engine, stairs, prompts, "extreme", 0, longest_tokens=longest_tokens)
