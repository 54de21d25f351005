"""The worst stretch of a run: the window in which the smallest share of the requests that arrive meets the SLO.

A window lasts as long as is asked for, but at least until it holds `FEWEST` requests: in fewer a single one decides. One
begins at every arrival, as far as it ends while measuring goes on, and one ends with the measuring. Where none of these
misses a larger share than the whole does, the whole is the worst.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sunsim.clock import to_ps
from sunsim.metrics.rows import Bools, Floats, Window

Ints = npt.NDArray[np.int64]

FEWEST = 20
"""Requests below which a window says nothing: one is at most 5 % of it."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of requests in the order of their arrival: those from `start` up to `stop`; both never fall."""

    start: Ints
    stop: Ints

    @classmethod
    def of(cls, arrival_s: Floats, window: Window, length_s: float, fewest: int = FEWEST) -> "Windows":
        """All windows over these arrivals, which are in order and inside the measured `window`; none over too few."""
        number = len(arrival_s)
        if number < fewest:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64))
        # On the clock, so that requests on a window's edge do not hang on how a sum of seconds is rounded.
        at_ps, length_ps, end_ps = to_ps(np.asarray(arrival_s)), to_ps(length_s), to_ps(window.end_s)
        start = np.searchsorted(at_ps, at_ps)
        stop = np.maximum(np.searchsorted(at_ps, at_ps + length_ps), start + fewest)
        whole = (at_ps + length_ps <= end_ps) & (stop <= number)
        last = min(int(np.searchsorted(at_ps, end_ps - length_ps)), number - fewest)
        return cls(np.append(start[whole], last), np.append(stop[whole], number))

    @property
    def sizes(self) -> Ints:
        """Requests in each."""
        return self.stop - self.start

    def count(self, which: Bools) -> Ints:
        """How many of `which`, one a request, are in each."""
        before: Ints = np.concatenate([[0], np.cumsum(which)])
        return before[self.stop] - before[self.start]


@dataclass(frozen=True, slots=True)
class Worst:
    """The share of its requests that met the SLO, and when it begins, seconds; None where there are no requests."""

    share: float | None
    start_s: float | None


def worst_window(arrival_s: Floats, met: Bools, window: Window, length_s: float, fewest: int = FEWEST) -> Worst:
    """The worst window of requests that arrived inside `window`, in any order; `met` says which met the SLO."""
    if not len(arrival_s):
        return Worst(None, None)
    order = np.argsort(arrival_s, kind="stable")
    arrival_s, met = arrival_s[order], met[order]
    found = Windows.of(arrival_s, window, length_s, fewest)
    shares = found.count(met) / found.sizes
    mean = int(met.sum()) / len(met)
    if not len(shares) or shares.min() >= mean:
        return Worst(mean, window.start_s)
    worst = int(shares.argmin())
    return Worst(float(shares[worst]), float(arrival_s[found.start[worst]]))
