"""Moments at which the host holds a worker up."""

from collections import deque
from collections.abc import Iterable
from itertools import chain, repeat

from sunsim.cluster.sequence import NEVER


class Stalls:
    """A worker's stalls, each used up by the step that runs when it comes, or by nobody.

    Attributes:
        next_ps: when the next one comes, in picoseconds.
    """

    __slots__ = ("_ahead", "_rest", "next_ps")

    def __init__(self, stalls: Iterable[tuple[int, int]]) -> None:
        self._rest = chain(stalls, repeat((NEVER, 0)))
        self._ahead = deque([next(self._rest)])  # looked at, not used up; never empty
        self.next_ps = self._ahead[0][0]

    def take(self, start_ps: int, end_ps: int) -> int:
        """The end of a step that would run from `start_ps` to `end_ps`; uses up its stalls and the ones before it."""
        ahead = self._ahead
        while self.next_ps < end_ps:
            at_ps, extra_ps = ahead.popleft()
            if at_ps >= start_ps:
                end_ps += extra_ps
            if not ahead:
                ahead.append(next(self._rest))
            self.next_ps = ahead[0][0]
        return end_ps

    def foresee(self, start_ps: int, end_ps: int) -> int:
        """The end of steps that would run back to back from `start_ps` to `end_ps`; uses up nothing."""
        ahead = self._ahead
        i = 0
        while ahead[i][0] < end_ps:
            at_ps, extra_ps = ahead[i]
            if at_ps >= start_ps:
                end_ps += extra_ps
            i += 1
            if i == len(ahead):
                ahead.append(next(self._rest))
        return end_ps
