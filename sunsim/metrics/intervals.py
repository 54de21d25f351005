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
    def _summed(cls, time_s: Floats, jumps: Floats, slopes: Floats) -> "Level":
        at, inverse = np.unique(time_s, return_inverse=True)
        jump = np.bincount(inverse, jumps, len(at))
        slope = np.cumsum(np.bincount(inverse, slopes, len(at)))
        grown = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(at))]) if len(at) else at
        before = grown + np.cumsum(jump) - jump
        return cls(at, before, before + jump)

    def within(self, window: Window) -> "Level":
        """The part inside the window, with a time at each of its edges."""
        edges = np.array([window.start_s, window.end_s])
        time_s, before, after = self.time_s, self.before, self.after
        for edge in edges:
            i = int(np.searchsorted(time_s, edge))
            if i < len(time_s) and time_s[i] == edge:
                continue
            value = 0.0
            if 0 < i < len(time_s):
                share = (edge - time_s[i - 1]) / (time_s[i] - time_s[i - 1])
                value = after[i - 1] + share * (before[i] - after[i - 1])
            elif i == len(time_s) and i:
                value = after[-1]
            time_s, before, after = (np.insert(a, i, v) for a, v in ((time_s, edge), (before, value), (after, value)))
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
