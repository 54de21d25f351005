"""Load on a fresh engine until a fixed decode step repeats: on a cold card or host the first minutes' steps are slower."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from profiler.engine import Engine
from profiler.phases.base import PhaseError, fitting_batch
from profiler.phases.decode import even

BATCH, CONTEXT_TOKENS, STEPS = 128, 1024, 80

TOLERANCE = 0.002
WINDOWS = 5
LEAST_S, MOST_S = 10.0, 25.0


async def steady_step_ms(engine: Engine) -> float:
    """Median time, ms, of the steps of a batch that is the same at each call, its place in the KV cache included."""
    await engine.scatter_blocks()
    batch = fitting_batch(engine, BATCH, CONTEXT_TOKENS + STEPS + engine.block_size)
    points = await even(engine, CONTEXT_TOKENS, steps=STEPS, batches=(batch,))
    if not points["decode_points"]:
        msg = "the batch did not settle"
        raise PhaseError(msg)
    return float(points["decode_points"][0]["step_ms_median"])


def is_steady(medians_ms: Sequence[float]) -> bool:
    """Whether the last windows agree."""
    last = medians_ms[-WINDOWS:]
    return len(last) == WINDOWS and max(last) <= min(last) * (1 + TOLERANCE)


async def until_steady(
    window_ms: Callable[[], Awaitable[float]], clock: Callable[[], float] = time.monotonic
) -> dict[str, Any]:
    """Repeats a window until its medians agree, for at least `LEAST_S`; none begins after `MOST_S`.

    Returns whether they do in the end, the seconds it took and all medians.
    """
    begin_s = clock()
    medians_ms: list[float] = []
    while (elapsed_s := clock() - begin_s) < MOST_S and not (elapsed_s >= LEAST_S and is_steady(medians_ms)):
        medians_ms.append(await window_ms())
    return {
        "steady": is_steady(medians_ms),
        "steady_after_s": round(clock() - begin_s, 2),
        "step_ms_medians": medians_ms,
    }
