"""The life of the workers of an elastic pool, without a clock.

off -> (order) starting -> ready -> draining -> off. A started worker that is not needed to serve may be kept warm.
"""

from collections.abc import Callable, Sequence
from itertools import islice


class Slots:
    """Which workers of a pool, by slot, are in which state; the rest are off.

    Attributes:
        ready: take requests; in order of their slots.
        starting: in the order in which they were ordered.
        draining: were told to go, and still have something to do.
        warm: started, and kept in reserve.
    """

    def __init__(self, slots: Sequence[int], initial: int, warm: int) -> None:
        """`initial` workers are ready at the beginning; `warm` are to be kept started beside those that serve."""
        self._slots = slots
        self._reserve = warm
        self.ready = list(slots[:initial])
        self.starting: list[int] = []
        self.draining: list[int] = []
        self.warm = list(slots[initial : initial + warm])
        self._serving = initial

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Numbers of ready, starting, draining and warm workers."""
        return len(self.ready), len(self.starting), len(self.draining), len(self.warm)

    @property
    def held(self) -> list[int]:
        """The slots of those that are not off."""
        return [*self.ready, *self.starting, *self.draining, *self.warm]

    def resize(self, serving: int, unfinished: Callable[[int], int]) -> tuple[list[int], list[int]]:
        """So many workers are to serve. Gives the slots that are ordered now, and those that are told to go.

        Growing takes back draining workers first, then warm ones, then it orders the lowest that are off. Shrinking
        cancels the ones ordered last, then drains those with the fewest `unfinished` requests, among equals the highest.
        """
        self._serving = serving
        self._take_back(serving)
        going = self._let_go(serving, unfinished)
        lacking = self._up - len(self.ready) - len(self.warm)
        del self.starting[max(0, lacking) :]
        ordered = self._off(max(0, lacking - len(self.starting)))
        self.starting += ordered
        return ordered, going

    def started(self, slot: int) -> None:
        """An ordered worker is up."""
        self.starting.remove(slot)
        if len(self.ready) < self._serving:
            self._make_ready(slot)
        else:
            self.warm.append(slot)

    def drained(self, slot: int) -> bool:
        """A draining worker has nothing left to do; gives whether it is kept warm, else it is off."""
        self.draining.remove(slot)
        kept = len(self.ready) + len(self.starting) + len(self.warm) < self._up
        if kept:
            self.warm.append(slot)
        return kept

    @property
    def _up(self) -> int:
        """How many are to be up or on their way: those that serve, and the reserve as far as there are slots for it."""
        return min(len(self._slots), self._serving + self._reserve)

    def _take_back(self, serving: int) -> None:
        for reserve in (self.draining, self.warm):
            for slot in sorted(reserve)[: max(0, serving - len(self.ready))]:
                reserve.remove(slot)
                self._make_ready(slot)

    def _let_go(self, serving: int, unfinished: Callable[[int], int]) -> list[int]:
        order = sorted(self.ready, key=lambda slot: (unfinished(slot), -slot))
        going = order[: max(0, len(self.ready) - serving)]
        self.ready = [slot for slot in self.ready if slot not in going]
        self.draining += going
        return going

    def _off(self, number: int) -> list[int]:
        """The lowest so many that are off."""
        taken = set(self.held)
        return list(islice((slot for slot in self._slots if slot not in taken), number))

    def _make_ready(self, slot: int) -> None:
        self.ready = sorted([*self.ready, slot])
