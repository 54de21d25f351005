"""The simulator's clock: whole picoseconds, so that equal times compare equal on every path to them."""

from bisect import bisect_right
from typing import overload

import numpy as np
from numpy.typing import NDArray

PS_PER_S = 10**12
PS_PER_MS = 10**9
MAX_DAYS = 100
MAX_S = MAX_DAYS * 86_400.0
"""Longest time that a scenario or trace may name, seconds (100 days)."""
END_PS = 106 * 86_400 * PS_PER_S
"""Where the clock ends: six days after the last arrival that there may be (int64 picoseconds end 18 hours later)."""

_COARSER_S = (8192.0, *(10.0**n for n in range(4, 13)))
"""From each of these on, 15 digits tell times ten times less finely; below the first, to the picosecond."""
_EXACT_PS = 2**53
"""All integers up to here are floats too."""


@overload
def to_ps(seconds: float) -> int: ...
@overload
def to_ps(seconds: NDArray[np.float64]) -> NDArray[np.int64]: ...
def to_ps(seconds: float | NDArray[np.float64]) -> int | NDArray[np.int64]:
    """Seconds as picoseconds, rounded half to even; a number or an array of any shape.

    Where a float does not hold picoseconds any more, its first 15 digits count, so that 100000.1 s is what it says.
    """
    if isinstance(seconds, np.ndarray):
        step_ps = _finest_ps(seconds)
        return np.rint(seconds * (PS_PER_S / step_ps)).astype(np.int64) * step_ps
    coarse_ps: int = 10 ** bisect_right(_COARSER_S, seconds)
    return round(seconds * (PS_PER_S / coarse_ps)) * coarse_ps


@overload
def to_s(ps: int) -> float: ...
@overload
def to_s(ps: NDArray[np.int64]) -> NDArray[np.float64]: ...
def to_s(ps: int | NDArray[np.int64]) -> float | NDArray[np.float64]:
    """Picoseconds as the nearest seconds; a number or an array of any shape, to the same bits."""
    if not isinstance(ps, np.ndarray):
        return ps / PS_PER_S
    seconds: NDArray[np.float64] = ps / PS_PER_S
    # numpy rounds such integers to a float before it divides.
    long = ps > _EXACT_PS
    seconds[long] = [one / PS_PER_S for one in ps[long].tolist()]
    return seconds


def since_s(times_s: NDArray[np.float64], start_s: float) -> NDArray[np.float64]:
    """`times_s - start_s` without the noise of the subtraction: to 10 picoseconds, or to what 15 digits tell."""
    ticks_per_s = PS_PER_S / np.maximum(_finest_ps(np.maximum(times_s, start_s)), 10)
    return np.rint((times_s - start_s) * ticks_per_s) / ticks_per_s


def _finest_ps(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    return 10 ** np.searchsorted(_COARSER_S, times_s, side="right")
