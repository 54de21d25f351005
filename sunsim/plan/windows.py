"""The windows of a plan: how long they are, and how many requests may miss in each."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from sunsim.metrics.rows import Bools, Floats, Window
from sunsim.metrics.worst import FEWEST, Ints, Windows
from sunsim.scenario import Scenario

LENGTH_S = 60.0
"""Where the scenario states none."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """What is asked of windows.

    Attributes:
        length_s, fewest: see `Windows`. One miss may be allowed in a window of `fewest` requests.
        attainment: the share that must meet the SLO.
        required: whether it must in every window of every seed; else over all of them together.
    """

    length_s: float
    fewest: int
    attainment: float
    required: bool

    @classmethod
    def of(cls, scenario: Scenario) -> Stretches:
        """Those of a scenario with a plan block."""
        plan = scenario.plan
        assert plan
        spare = 1 - plan.attainment
        fewest = max(FEWEST, ceil(1 / spare - 1e-9)) if spare > 0 else FEWEST
        length_s = scenario.slo.worst_window_s or LENGTH_S
        return cls(length_s, fewest, plan.attainment, plan.require == "worst-window")

    def may_miss(self, requests: Ints | int) -> Ints:
        """How many of so many requests may miss their SLO."""
        allowed: Ints = np.floor(np.asarray(requests) * (1 - self.attainment) + 1e-9).astype(np.int64)
        return allowed

    def beyond(self, arrival_s: Floats, missed: Bools, window: Window) -> int:
        """In how many windows more miss than may, the whole counted as one; arrivals are inside, in any order."""
        order = np.argsort(arrival_s, kind="stable")
        found = Windows.of(arrival_s[order], window, self.length_s, self.fewest)
        over = found.count(missed[order]) > self.may_miss(found.sizes)
        whole = missed.sum() > self.may_miss(len(missed))
        return int(over.sum()) + int(whole)


class Allowance:
    """What the requests of one model have left to miss, in each window."""

    def __init__(self, arrival_s: Floats, window: Window, stretches: Stretches) -> None:
        """`arrival_s`: of the model's requests inside the measured `window`, in order."""
        self._windows = Windows.of(arrival_s, window, stretches.length_s, stretches.fewest)
        self._left = stretches.may_miss(self._windows.sizes)
        self._whole = int(stretches.may_miss(len(arrival_s)))
        self.spent = False

    def miss(self, place: int) -> None:
        """The request at this place of the order has missed; `spent` says whether one too many has."""
        low = int(np.searchsorted(self._windows.stop, place, side="right"))
        high = int(np.searchsorted(self._windows.start, place, side="right"))
        self._left[low:high] -= 1
        self._whole -= 1
        self.spent = self.spent or self._whole < 0 or bool((self._left[low:high] < 0).any())
