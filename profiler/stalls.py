"""Host stalls: decode steps that took much longer than their neighbours, which the GPU's own work does not explain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profiler.recording import Step

NEIGHBOURS = 7
STALL_MS = 1.5
"""Far above what joins, lengths or batch sizes change from one step to the next."""


def usual_ms(steps: Sequence[Step]) -> NDArray[np.float64]:
    """The median time of the steps around each step, ms, a value a step.

    Steps with a chunk and those begun on an idle engine have a time of their own: it is what is usual for them, and they
    are nobody's neighbours. So it is for all where there are too few.
    """
    usual = np.array([step.step_s * 1e3 for step in steps])
    plain = np.array([i for i, step in enumerate(steps) if not step.chunks and not step.idle_start], dtype=int)
    if len(plain) > 2 * NEIGHBOURS:
        padded = np.pad(usual[plain], NEIGHBOURS, mode="reflect")
        usual[plain] = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1), axis=1)
    return usual


def stall_extra_ms(steps: Sequence[Step]) -> NDArray[np.float64]:
    """By how much each step took longer than is usual, ms, a value a step; 0 if under 1.5."""
    longer_ms = np.array([step.step_s * 1e3 for step in steps]) - usual_ms(steps)
    return np.where(longer_ms > STALL_MS, longer_ms, 0.0)


def stall_record(steps: Sequence[Step], *, arrivals_apart: bool = False) -> dict[str, Any]:
    """When the host stalled, and for how long: what a simulated worker's stalls are drawn from.

    observed_s: time in decode steps, the stalls left out. stalls: (seconds of this time until it began, its length in
    ms), in order. With `arrivals_apart` without those at or right before a step that somebody joined: they have a cause,
    which `profiler.arrival_cost` looks at.
    """
    observed_s = 0.0
    stalls = []
    joined = [bool(step.joined) for step in steps]
    has_cause = [arrivals_apart and (now or after) for now, after in zip(joined, [*joined[1:], False], strict=False)]
    for step, extra_ms, caused in zip(steps, stall_extra_ms(steps).tolist(), has_cause, strict=True):
        if step.chunks or step.idle_start:
            continue
        if extra_ms and not caused:
            stalls.append([round(observed_s, 4), round(extra_ms, 3)])
        observed_s += step.step_s - extra_ms / 1e3
    return {"observed_s": round(observed_s, 4), "stalls": stalls}
