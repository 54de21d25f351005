"""Values over the time of a run: straight lines between edges, with jumps at them where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lines:
    """Pieces, in each of which a value, or each of m values, goes straight from its first to its last.

    Attributes:
        edge_s: where pieces begin, and the last one ends: float64[k + 1], rising from 0.
        first: at the beginning of each piece, float64[k] or float64[k, m].
        last: towards its end, of the same shape.
    """

    edge_s: Floats
    first: Floats
    last: Floats

    @classmethod
    def between(cls, time_s: Floats, values: Floats) -> Lines:
        """Through points, float64[k + 1] each."""
        return cls(time_s, values[:-1], values[1:])

    @classmethod
    def steps(cls, edge_s: Floats, values: Floats) -> Lines:
        """The same value throughout each piece, float64[k] or float64[k, m]."""
        return cls(edge_s, values, values)

    @property
    def end_s(self) -> float:
        """Where the last piece ends."""
        return float(self.edge_s[-1])

    def piece(self, time_s: Floats) -> NDArray[np.intp]:
        """The piece that each time is in, which at an edge is the one that begins there, intp[n]."""
        return np.clip(np.searchsorted(self.edge_s, time_s, side="right") - 1, 0, self.edge_s.size - 2)

    def at(self, time_s: Floats) -> Floats:
        """The values at some times, float64[n] or float64[n, m]; where they jump, those after it."""
        return self._of(self.piece(time_s), time_s)

    def _of(self, piece: NDArray[np.intp], time_s: Floats) -> Floats:
        """Values at times that are in, or at the end of, these pieces."""
        part = (time_s - self.edge_s[piece]) / np.diff(self.edge_s)[piece]
        part = part.reshape(-1, *[1] * (self.first.ndim - 1))
        first = self.first[piece]
        return first + (self.last[piece] - first) * part

    def split(self, more_s: Floats) -> Lines:
        """The same values with edges at these times too, as far as they are inside."""
        inside = more_s[(more_s > 0) & (more_s < self.end_s)]
        edge_s = np.unique(np.concatenate([self.edge_s, inside]))
        piece = self.piece(edge_s[:-1])
        return Lines(edge_s, self._of(piece, edge_s[:-1]), self._of(piece, edge_s[1:]))

    def until(self, end_s: float) -> Lines:
        """What is before `end_s`, which is not beyond the end."""
        parted = self.split(np.array([end_s]))
        pieces = int(np.searchsorted(parted.edge_s, end_s))
        return Lines(parted.edge_s[: pieces + 1], parted.first[:pieces], parted.last[:pieces])

    @cached_property
    def integral(self) -> Floats:
        """From 0 to each edge, float64[k + 1], of one value."""
        areas = np.diff(self.edge_s) * (self.first + self.last) / 2
        return np.concatenate([np.zeros(1), np.cumsum(areas)])

    def where(self, integral: Floats) -> Floats:
        """The times up to which the integral is so much, which must not fall, float64[n], of one value not below 0.

        Where the value is 0 for a while, the end of that while. In a piece that begins with value f and slope s, an area a
        is passed after ``2 a / (f + sqrt(f**2 + 2 s a))``, the form of the root that loses no digits.
        """
        piece = np.clip(np.searchsorted(self.integral, integral, side="right") - 1, 0, self.first.size - 1)
        width_s, area = np.diff(self.edge_s)[piece], integral - self.integral[piece]
        first, slope = self.first[piece], (self.last - self.first)[piece] / width_s
        below = first + np.sqrt(np.maximum(first**2 + 2 * slope * area, 0))
        after_s = np.divide(2 * area, below, out=np.zeros_like(area), where=below > 0)
        # Rounding must not take a time beyond its piece, or before the time of a smaller integral.
        found: Floats = self.edge_s[piece] + np.minimum(after_s, width_s)
        return found if not found.size else np.maximum.accumulate(found)


def mean_product(values: Lines, weight: Lines) -> Floats:
    """The mean of each of m values over the time of a run by a weight, both up to the same end, float64[m].

    By Gauss's rule of two points a piece, which is exact for the product of two lines.
    """
    values, weight = values.split(weight.edge_s), weight.split(values.edge_s)
    width_s = np.diff(values.edge_s)
    total, weights = np.zeros(values.first.shape[1]), 0.0
    for part in (0.5 - 12**-0.5, 0.5 + 12**-0.5):
        weighed = width_s * (weight.first + (weight.last - weight.first) * part)
        total += weighed @ (values.first + (values.last - values.first) * part)
        weights += weighed.sum()
    return total / weights
