"""Whether a step takes the same time however many drafts are accepted: the same batch and context at several rates."""

from collections.abc import Sequence
from typing import Any

from profiler.engine import Engine
from profiler.phases.base import PhaseError, Points, recorded_steps
from profiler.phases.decode import even_prompts
from profiler.plateaus import milliseconds, step_stats
from profiler.recording import decode_runs

CONTEXT_TOKENS = 1024
STEPS = 24
"""Of a batch, that count; none of its requests ends before."""
SETTLING = 5


def falling_rates(each: float, drafts: int) -> list[float]:
    """Acceptance rates where each draft that is reached is accepted with probability `each`."""
    return [round(each ** (i + 1), 6) for i in range(drafts)]


async def _steady(engine: Engine, batch: int, each: float, run: int) -> dict[str, Any]:
    drafts = engine.settings.num_speculative_tokens
    rates = falling_rates(each, drafts)
    await engine.set_acceptance_rates(rates)
    a_step = 1 + sum(rates)
    # So that the middle of the steps that count has the same context at all rates.
    begin = CONTEXT_TOKENS - round(a_step * (SETTLING + STEPS / 2))
    # Nobody may end early, even if all of its drafts are accepted wherever some are.
    most_a_step = 1 + drafts * (each > 0)
    tokens = most_a_step * (SETTLING + STEPS + 2)
    engine.drain_steps()
    await engine.batch(even_prompts(begin, batch, engine.block_size), [tokens] * batch)
    await engine.settle()
    steps = recorded_steps(engine)
    whole = [run for run in decode_runs(steps) if run.batch == batch]
    if not whole or whole[0].end - whole[0].begin < SETTLING + STEPS:
        msg = f"the batch of {batch} did not stay together"
        raise PhaseError(msg)
    counted = steps[whole[0].begin + SETTLING :][:STEPS]
    found = sum(step.num_drafts for step in counted)
    return {
        "batch": batch,
        "context_tokens": round(sum(step.context_tokens for step in counted) / STEPS),
        "synthetic_acceptance_rates": rates,
        "run": run,
        "num_drafts": found,
        "num_draft_tokens": sum(step.num_draft_tokens for step in counted),
        "num_accepted_tokens": sum(sum(step.num_accepted_tokens_per_pos) for step in counted),
    } | step_stats(milliseconds(counted))


async def acceptance_check(
    engine: Engine, *, batches: Sequence[int], each: Sequence[float] = (0.0, 0.5, 1.0), repeats: int = 2
) -> Points:
    """Steady batches at rates of acceptance, in turn; whatever goes wrong, none is accepted afterwards."""
    most = engine.settings.max_num_seqs
    try:
        points = [
            await _steady(engine, min(batch, most), accepted, run)
            for run in range(repeats)
            for batch in batches
            for accepted in each
        ]
    finally:
        await engine.set_acceptance_rates([0.0] * engine.settings.num_speculative_tokens)
    return {"acceptance_check": points}
