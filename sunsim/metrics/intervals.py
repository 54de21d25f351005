"""Sums over time intervals: how long something was busy, and how much was held at once."""

from dataclasses import dataclass

import numpy as np

from sunsim.metrics.rows import Floats, Window


def overlap_s(start_s: Floats, end_s: Floats, window: Window) -> Floats:
    """Seconds that each interval shares with the window; an interval without an end lasts for ever."""
    end_s = np.where(np.isnan(end_s), np.inf, end_s)
    clipped = np.minimum(end_s, window.end_s) - np.maximum(start_s, window.start_s)
    return np.where(np.isnan(start_s), 0.0, np.maximum(clipped, 0.0))


def covered_s(start_s: Floats, end_s: Floats, window: Window) -> float:
    """Seconds of the window that at least one interval covers: the length of their union."""
    begun = ~np.isnan(start_s)
    start_s, end_s = start_s[begun], np.where(np.isnan(end_s), np.inf, end_s)[begun]
    if len(start_s) == 0:
        return 0.0
    order = np.argsort(start_s, kind="stable")
    start_s = np.clip(start_s[order], window.start_s, window.end_s)
    end_s = np.clip(end_s[order], window.start_s, window.end_s)
    seen_s = np.concatenate([[window.start_s], np.maximum.accumulate(end_s)[:-1]])
    return float(np.maximum(end_s - np.maximum(start_s, seen_s), 0.0).sum())


@dataclass(frozen=True, slots=True)
class Level:
    """A sum of trapezoids over time: linear between its times, with jumps at them."""

    time_s: Floats
    before: Floats
    after: Floats

    @classmethod
    def of(cls, start_s: Floats, grow_s: Floats, end_s: Floats, low: Floats, high: Floats) -> "Level":
        """Sum pieces that hold `low` from start to grow, then grow to `high` at their end.

        A piece without a start never was; one without a growth or an end stays at `low`.
        """
        begun = ~np.isnan(start_s)
        start_s, grow_s, end_s, low, high = (a[begun] for a in (start_s, grow_s, end_s, low, high))
        grows = np.where(np.isnan(grow_s) | np.isnan(end_s), False, end_s > grow_s)
        ends = ~np.isnan(end_s)
        slope = (high - low)[grows] / (end_s - grow_s)[grows]
        reached = np.where(grows, high, low)[ends]
        time_s = np.concatenate([start_s, end_s[ends], grow_s[grows], end_s[grows]])
        jumps = np.concatenate([low, -reached, np.zeros(2 * len(slope))])
        slopes = np.concatenate([np.zeros(len(low) + len(reached)), slope, -slope])
        return cls._summed(time_s, jumps, slopes)

    @classmethod
    def count(cls, start_s: Floats, end_s: Floats) -> "Level":
        """How many intervals are open; one without a start never was, one without an end lasts for ever."""
        one = np.ones(len(start_s))
        return cls.of(start_s, np.full(len(start_s), np.nan), end_s, one, one)

    @classmethod
    def _summed(cls, time_s: Floats, jumps: Floats, slopes: Floats) -> "Level":
        at, inverse = np.unique(time_s, return_inverse=True)
        jump = np.bincount(inverse, jumps, len(at))
        slope = np.cumsum(np.bincount(inverse, slopes, len(at)))
        grown = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(at))]) if len(at) else at
        before = grown + np.cumsum(jump) - jump
        return cls(at, before, before + jump)

    def at(self, time_s: Floats) -> Floats:
        """The level at these times, after what jumps there."""
        if not len(self.time_s):
            return np.zeros_like(time_s)
        i = np.searchsorted(self.time_s, time_s, side="right")
        inside = (i > 0) & (i < len(self.time_s))
        low, high = np.maximum(i - 1, 0), np.minimum(i, len(self.time_s) - 1)
        length = np.where(inside, self.time_s[high] - self.time_s[low], 1.0)
        share = np.where(inside, (time_s - self.time_s[low]) / length, 0.0)
        value = self.after[low] + share * (self.before[high] - self.after[low])
        return np.where(i == 0, 0.0, np.where(inside, value, self.after[-1]))

    def within(self, window: Window) -> "Level":
        """The part inside the window, with a time at each of its edges."""
        edges = np.unique([window.start_s, window.end_s])
        places = np.searchsorted(self.time_s, edges)
        new = places == np.searchsorted(self.time_s, edges, side="right")
        edges, places = edges[new], places[new]
        values = self.at(edges)
        time_s, before, after = (
            np.insert(kept, places, new)
            for kept, new in ((self.time_s, edges), (self.before, values), (self.after, values))
        )
        inside = (time_s >= window.start_s) & (time_s <= window.end_s)
        return Level(time_s[inside], before[inside], after[inside])

    def mean(self, window: Window) -> float:
        """Mean over time in the window (trapezoid rule, exact for a piecewise linear level)."""
        part = self.within(window)
        area = 0.5 * np.diff(part.time_s) * (part.after[:-1] + part.before[1:])
        return float(area.sum() / window.length_s)

    def peak(self, window: Window) -> float:
        """Highest value in the window."""
        part = self.within(window)
        return float(max(part.after[:-1].max(), part.before[1:].max()))
