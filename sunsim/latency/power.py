"""The power that a card draws, along what its profile measured beside the step times."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sunsim.latency.measured import ProfileData

Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Sizes of steps, rising, and watts."""


@dataclass(frozen=True, slots=True, eq=False)
class Power:
    """Watts of one GPU: idle, and in steps by their requests that decode, or by their prompt tokens.

    Between the measured sizes straight lines, beyond them what the nearest one drew. Points of one size count alike,
    whatever their context.
    """

    idle_w: float
    decode: Line | None
    prefill: Line | None

    @classmethod
    def of(cls, data: ProfileData) -> Self | None:
        """That of a profile; None if its power was not measured."""
        if data.idle_power_w is None:
            return None
        decode = _line((point.batch, point.avg_power_w) for point in data.decode_points)
        return cls(
            data.idle_power_w, decode, _line((point.new_tokens, point.avg_power_w) for point in data.prefill_points)
        )

    def decode_w(self, batch: float) -> float | None:
        """While so many requests decode; None if that was not measured."""
        return _at(self.decode, batch)

    def prefill_w(self, tokens: float) -> float | None:
        """In steps of so many prompt tokens; None if that was not measured."""
        return _at(self.prefill, tokens)


def _line(points: Iterable[tuple[int, float | None]]) -> Line | None:
    found = np.array([point for point in points if point[1] is not None], dtype=float)
    if not len(found):
        return None
    sizes, place = np.unique(found[:, 0], return_inverse=True)
    return sizes, np.bincount(place, found[:, 1]) / np.bincount(place)


def _at(line: Line | None, size: float) -> float | None:
    return None if line is None else float(np.interp(size, *line))
