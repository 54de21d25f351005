"""The simulator's clock: whole picoseconds, so that equal times compare equal on every path to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PS_PER_S = 10**12
PS_PER_MS = 10**9
MAX_S = 100 * 86_400.0
"""Longest time that a scenario or trace may name, seconds (100 days; int64 picoseconds end after 106)."""


@overload
def to_ps(seconds: float) -> int: ...
@overload
def to_ps(seconds: NDArray[np.float64]) -> NDArray[np.int64]: ...
def to_ps(seconds: float | NDArray[np.float64]) -> int | NDArray[np.int64]:
    """Seconds as picoseconds, rounded half to even; a number or an array of any shape."""
    if isinstance(seconds, np.ndarray):
        return np.rint(seconds * PS_PER_S).astype(np.int64)
    return round(seconds * PS_PER_S)


@overload
def to_s(ps: int) -> float: ...
@overload
def to_s(ps: NDArray[np.int64]) -> NDArray[np.float64]: ...
def to_s(ps: int | NDArray[np.int64]) -> float | NDArray[np.float64]:
    """Picoseconds as seconds; a number or an array of any shape."""
    return ps / PS_PER_S
