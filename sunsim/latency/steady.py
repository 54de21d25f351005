"""Steps of steady batches of even lengths: a straight line over the total context for each batch size measured.

They lie on it within 0.1 to 0.6 % (root mean square, by profile).
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.latency.measured import DecodePoint

Floats = NDArray[np.float64]

LEAST_CONTEXTS = 2
"""Contexts that a batch size must be measured at for a line of its own."""


class StepLine(NamedTuple):
    """``step_ms = base_ms + token_ms * context``, measured from `from_tokens` to `to_tokens` of total context."""

    base_ms: float
    token_ms: float
    from_tokens: float
    to_tokens: float

    def ms(self, context_tokens: float) -> float:
        """Step time in milliseconds, the line going on beyond what was measured."""
        return self.base_ms + self.token_ms * context_tokens


def steady_points(points: list[DecodePoint]) -> dict[int, tuple[Floats, Floats]]:
    """Total contexts, rising, and milliseconds of a step, by batch size measured at several contexts.

    A time is the mean of its runs' medians. If no batch size was measured at several contexts, all are there.
    """
    by_batch: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        if point.lengths == "uniform":
            by_batch[point.batch][point.context_tokens].append(point.step_ms_median)
    most = max((len(at) for at in by_batch.values()), default=0)
    return {
        batch: (np.array(sorted(at)), np.array([float(np.mean(at[context])) for context in sorted(at)]))
        for batch, at in by_batch.items()
        if len(at) >= min(LEAST_CONTEXTS, most)
    }


def steady_lines(points: list[DecodePoint]) -> dict[int, StepLine]:
    """A line for each such batch size; flat ones if no batch size was measured at several contexts."""
    return {batch: _line(*measured) for batch, measured in steady_points(points).items()}


def _line(contexts: Floats, step_ms: Floats) -> StepLine:
    """The line with the least squared relative errors among those whose two numbers are not negative."""
    ends = float(contexts[0]), float(contexts[-1])
    flat_ms = float((1 / step_ms).sum() / (step_ms**-2).sum())
    if contexts.size == 1:
        return StepLine(flat_ms, 0.0, *ends)
    rows = np.column_stack([1 / step_ms, contexts / step_ms])
    base_ms, token_ms = np.linalg.lstsq(rows, np.ones(contexts.size), rcond=None)[0].tolist()
    if token_ms <= 0:
        return StepLine(flat_ms, 0.0, *ends)
    if base_ms < 0:
        return StepLine(0.0, float(rows[:, 1].sum() / (rows[:, 1] ** 2).sum()), *ends)
    return StepLine(base_ms, token_ms, *ends)
