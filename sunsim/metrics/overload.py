"""Whether a queue still grows when arrivals end."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sunsim.metrics.intervals import overlap_s
from sunsim.metrics.rows import Window

if TYPE_CHECKING:
    from sunsim.metrics.rows import Floats, Requests

QUARTERS = 4
FEWEST_EXTRA = 5.0


def backlog_quarters(requests: Requests, window: Window) -> Floats:
    """Mean number of requests without a first token, in each successive quarter of the window."""
    edges = np.linspace(window.start_s, window.end_s, QUARTERS + 1)
    means = [
        overlap_s(requests.arrival_s, requests.first_token_s, Window(low, high)).sum() / (high - low)
        for low, high in pairwise(edges)
    ]
    return np.array(means)


def overloaded(requests: Requests, window: Window) -> bool:
    """Whether more arrives than gets its first token, up to the end of the window.

    The backlog's mean must grow into the last quarter and from the first half to the second, and the last quarter
    must exceed the first by a second's worth of arrivals, by what chance alone would add to a queue that is
    just full (the square root of the arrivals), and by a handful of requests.
    """
    arrived = int(window.holds(requests.arrival_s).sum())
    if not window.length_s or not arrived:
        return False
    first, second, third, last = backlog_quarters(requests, window)
    enough = max(arrived / window.length_s, np.sqrt(arrived), FEWEST_EXTRA)
    growing = last > third and third + last > first + second
    return bool(growing and last - first >= enough)
