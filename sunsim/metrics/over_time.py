"""What came and what was missed, stretch by stretch: for pictures of a day."""

import numpy as np

from sunsim.metrics.rows import Bools, Floats, Indices

HANDY_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
"""Lengths that people count in, seconds."""


def handy_s(length_s: float, most: int) -> float:
    """The shortest of `HANDY_S` of which a time so long has at most so many; the time itself, where it has more of all."""
    return next((float(each) for each in HANDY_S if length_s <= most * each), length_s / most)


def edges(begin_s: float, end_s: float, length_s: float) -> Floats:
    """[stretches + 1]: one begins every so many seconds; the last is longer, so that all end together."""
    whole = max(1, int((end_s - begin_s) / length_s + 1e-9))
    found: Floats = np.append(begin_s + length_s * np.arange(whole), end_s)
    return found


def counts(arrival_s: Floats, which: Bools, stretches: Floats) -> Indices:
    """[stretches]: how many of `which` arrive in each; what arrives with the end of the last counts to it."""
    found: Indices = np.histogram(arrival_s[which], stretches)[0]
    return found
