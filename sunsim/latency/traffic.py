"""What serving adds to a decode step: requests of unequal lengths that come and go, each token sent to its client.

A profile measures batches of even lengths, which share the GPU's attention units evenly, and apart from them batches
under traffic, whose size is swept up and down at several mean lengths. The difference depends on the batch size in
waves (attention tiles of a batch fill the GPU's processors a whole number of times, plus a rest), so it is kept for
each batch size.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sunsim.latency.profile import DecodePoint

LEAST_NEIGHBOURS = 2
NEIGHBOURS = 1 / 10
"""A batch size is averaged with those that differ by at most this share of it, or by two: each alone was seen for a
dozen steps, which share their requests and so their error. On the runs for calibration, single steps are less well
predicted with a narrower average, and hardly better with a wider one."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One sweep, a value a batch size: steps seen, mean total context in tokens, mean extra time in milliseconds."""

    batches: NDArray[np.float64]
    steps: NDArray[np.float64]
    context_tokens: NDArray[np.float64]
    extra_ms: NDArray[np.float64]

    def about(self, batch: int) -> NDArray[np.bool_]:
        """Which of the batch sizes seen speak for `batch`."""
        return np.abs(self.batches - batch) <= max(LEAST_NEIGHBOURS, batch * NEIGHBOURS)

    def at(self, batch: int) -> tuple[float, float] | None:
        """Context a request and extra milliseconds about `batch`; None where the sweep did not come near."""
        about = self.about(batch)
        if not about.any():
            return None
        weights = self.steps[about]
        a_request = self.context_tokens[about] / self.batches[about]
        return float(np.average(a_request, weights=weights)), float(np.average(self.extra_ms[about], weights=weights))

    def reach(self, batch: int) -> float:
        """Most total context seen about `batch`, tokens; 0 where the sweep did not come near."""
        about = self.about(batch)
        return float((self.context_tokens[about] / self.batches[about]).max() * batch) if about.any() else 0.0


class TrafficExtra:
    """Extra milliseconds of decode steps under traffic, by batch size and total context."""

    def __init__(self, points: list[DecodePoint], even_ms: Callable[[int, float], float]) -> None:
        """From a profile's points; `even_ms` gives the time of a batch of even lengths, by batch and total context."""
        by_level: dict[str, list[DecodePoint]] = defaultdict(list)
        for point in points:
            if point.lengths == "traffic":
                by_level[point.traffic].append(point)
        self._levels = [_level(found, even_ms) for found in by_level.values()]

    def at(self, batch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Total contexts, ascending, and the extra milliseconds there; empty where nothing near `batch` was seen.

        In between it is linear; beyond them it stays as it is.
        """
        found = sorted(at for level in self._levels if (at := level.at(batch)))
        contexts, extra_ms = np.array(found, dtype=np.float64).reshape(-1, 2).T
        return contexts * batch, extra_ms

    def reach(self, batch: int) -> float:
        """Most total context seen about `batch`, tokens."""
        return max((level.reach(batch) for level in self._levels), default=0.0)


def _level(points: list[DecodePoint], even_ms: Callable[[int, float], float]) -> _Level:
    by_batch: dict[int, list[DecodePoint]] = defaultdict(list)
    for point in points:
        by_batch[point.batch].append(point)
    rows = []
    for batch, found in sorted(by_batch.items()):
        steps = [point.steps for point in found]
        extra = [point.step_ms_mean - even_ms(batch, point.context_tokens) for point in found]
        context = [point.context_tokens for point in found]
        rows.append((batch, sum(steps), np.average(context, weights=steps), np.average(extra, weights=steps)))
    return _Level(*np.array(rows, dtype=np.float64).T)
