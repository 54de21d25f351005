"""How a pool follows its policy without restlessness: what was wanted lately, and how much it may change at a time.

Both are those of Kubernetes' Horizontal Pod Autoscaler: its stabilization window, and its scaling policies.
"""

from collections import deque
from dataclasses import dataclass

from sunsim.clock import to_ps
from sunsim.scenario.scaling import Pace, Scaling


@dataclass(frozen=True, slots=True)
class Change:
    """So many workers more, or fewer where it is negative, from a moment on."""

    at_ps: int
    by: int


class Calm:
    """Makes what a policy wants into what a pool is told.

    Args:
        scaling: the scenario's block.
        initial: workers that serve at the start, which counts as wanted then.
    """

    def __init__(self, scaling: Scaling, initial: int) -> None:
        self.serving = initial
        self._cooldown_ps = to_ps(scaling.cooldown_s)
        self._grow, self._shrink = scaling.grow, scaling.shrink
        self._lately = deque([(0, initial)])  # when so many were wanted, but for those after which more were
        self._changes: deque[Change] = deque()  # as far back as a pace looks
        self._looks_back_ps = max((to_ps(pace.every_s) for pace in (scaling.grow, scaling.shrink) if pace), default=0)

    def follow(self, now_ps: int, wanted: int) -> int:
        """How many workers are to serve from now on.

        More, if more are wanted; fewer, if more than ever lately; both as far as the paces let it.
        """
        lately = self._lately
        while lately and now_ps - lately[0][0] > self._cooldown_ps:
            lately.popleft()
        while lately and lately[-1][1] <= wanted:
            lately.pop()
        lately.append((now_ps, wanted))
        told = min(max(wanted, self.serving), lately[0][1])
        while self._changes and self._changes[0].at_ps <= now_ps - self._looks_back_ps:
            self._changes.popleft()
        if self._grow and told > self.serving:
            told = min(told, max(self.serving, self._before(now_ps, self._grow) + self._grow.workers))
        elif self._shrink and told < self.serving:
            told = max(told, min(self.serving, self._before(now_ps, self._shrink) - self._shrink.workers))
        if told != self.serving:
            self._changes.append(Change(now_ps, told - self.serving))
            self.serving = told
        return told

    def _before(self, now_ps: int, pace: Pace) -> int:
        """How many served before the changes of the last so many seconds."""
        begin_ps = now_ps - to_ps(pace.every_s)
        return self.serving - sum(change.by for change in self._changes if change.at_ps > begin_ps)
