"""The policy that knows the future: how small a pool may be that is always as large as its load needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from sunsim.cluster.scaling.policies import NOISE
from sunsim.cluster.scaling.seen import Seen

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Work:
    """Work that comes to a stage: at some time, for how long it lasts, and how much of a worker's time it takes in all.

    Attributes:
        begins_s, lasts_s, worker_s: float64[n]; the work is spread evenly over the time that it lasts.
    """

    begins_s: Floats
    lasts_s: Floats
    worker_s: Floats

    def loads(self, bin_s: float, bins: int) -> Floats:
        """Workers kept busy in each of so many intervals of `bin_s` from 0 on, float64[bins]."""
        edges = np.arange(bins + 1, dtype=np.float64) * bin_s
        return np.diff(self._done(edges)) / bin_s

    def _done(self, at_s: Floats) -> Floats:
        """Worker-seconds that have come until each moment, float64[m], of moments in order."""
        begin, lasts, work = self.begins_s, self.lasts_s, self.worker_s
        at_once = lasts <= 0
        jumps, order = work[at_once], np.argsort(begin[at_once], kind="stable")
        whole = np.concatenate(([0.0], np.cumsum(jumps[order])))
        done = whole[np.searchsorted(begin[at_once][order], at_s, side="left")]
        # A line that goes up for a while is one that goes up for ever, less one that begins where it ends.
        rate = work[~at_once] / lasts[~at_once]
        for times, sign in ((begin[~at_once], 1.0), ((begin + lasts)[~at_once], -1.0)):
            order = np.argsort(times, kind="stable")
            rates = np.concatenate(([0.0], np.cumsum(rate[order])))
            moments = np.concatenate(([0.0], np.cumsum((rate * times)[order])))
            upto = np.searchsorted(times[order], at_s, side="left")
            done = done + sign * (rates[upto] * at_s - moments[upto])
        return done


class Oracle:
    """Wants what the busiest interval needs among those that an order given now, or none, bears on.

    They begin now and end where what the next decision orders would be there: ``start_s`` and one interval later. So
    there are always as many workers as the velocities say that the load needs, none is let go that would have to be
    ordered again at once, and a load that never came is not provided for. It is a bound for policies that measure load
    by the same velocities and not for all: it knows neither queues nor how unevenly a router spreads the requests.

    Args:
        loads: workers' worth of work, in each interval from 0 on, of one or several kinds of work.
        interval_s: of these, and between decisions.
        start_s: from the order until a worker takes requests.
        target: share of a worker's time that is to be filled.
    """

    def __init__(self, loads: Sequence[Floats], interval_s: float, start_s: float, target: float) -> None:
        self._most = np.max(np.stack(loads), axis=0) / target
        self._interval_s = interval_s
        self._ahead = ceil(start_s / interval_s - NOISE) + 1

    def wanted(self, seen: Seen) -> int:
        """What the busiest of the coming intervals needs."""
        return self.at(seen.now_s)

    def at(self, at_s: float) -> int:
        """The same for a moment."""
        first = int(at_s / self._interval_s + NOISE)
        return ceil(float(np.max(self._most[first : first + self._ahead], initial=0.0)) - NOISE)
