"""Host stalls: decode steps that took much longer than their neighbours, which the GPU's own work does not explain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profiler.recording import Step

NEIGHBOURS = 7
STALL_MS = 1.5
"""Far above what joins, lengths or batch sizes change from one step to the next."""


def stall_extra_ms(steps: Sequence[Step]) -> NDArray[np.float64]:
    """By how much each step took longer than the median of the steps around it, ms, a value a step; 0 if under 1.5.

    Steps with a chunk and those begun on an idle engine have a time of their own: they count as no stall, nor as
    neighbours.
    """
    extra = np.zeros(len(steps))
    plain = np.array([i for i, step in enumerate(steps) if not step.chunks and not step.idle_start], dtype=int)
    if len(plain) <= 2 * NEIGHBOURS:
        return extra
    step_ms = np.array([steps[i].step_s for i in plain]) * 1e3
    padded = np.pad(step_ms, NEIGHBOURS, mode="reflect")
    usual_ms = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1), axis=1)
    longer_ms = step_ms - usual_ms
    extra[plain] = np.where(longer_ms > STALL_MS, longer_ms, 0.0)
    return extra


def stall_record(steps: Sequence[Step]) -> dict[str, Any]:
    """When the host stalled, and for how long: what a simulated worker's stalls are drawn from.

    observed_s: time in decode steps, the stalls left out. stalls: (seconds of this time until it began, its length in
    ms), in order.
    """
    observed_s = 0.0
    stalls = []
    for step, extra_ms in zip(steps, stall_extra_ms(steps).tolist(), strict=True):
        if step.chunks or step.idle_start:
            continue
        if extra_ms:
            stalls.append([round(observed_s, 4), round(extra_ms, 3)])
        observed_s += step.step_s - extra_ms / 1e3
    return {"observed_s": round(observed_s, 4), "stalls": stalls}
