"""The clock's part of the cluster: callbacks at integer picoseconds, in an order that never depends on history.

What falls due at one instant happens stage by stage, and within a stage by number: arrivals first, then transfers, then
prefill workers, then decode workers, then reports of their load. So two engines that schedule their wake-ups at different moments still see the
same world.

Most of what happens is a worker's wake-up, so an `Alarm` is not a simpy event, but lies among them in simpy's queue and
is rung without the machinery of events.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias, cast

from simpy import Environment
from simpy.events import NORMAL, Event

from sunsim.clock import END_PS
from sunsim.cluster.sequence import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Priorities of simpy's queue; its own events and timeouts have NORMAL.
TRANSFER = NORMAL + 1
PREFILL = NORMAL + 2
DECODE = PREFILL + 1_000_000
REPORT = DECODE + 1_000_000


class Alarm:
    """Calls back at one moment, which may be moved while it has not come.

    Attributes:
        due_ps: that moment, None if it is not to ring.
        ticket: tells its entry in the queue from ones that no longer count.
    """

    __slots__ = ("_call", "_priority", "_queue", "_tickets", "due_ps", "ticket")

    def __init__(self, env: Clock, priority: int, call: Callable[[], None]) -> None:
        self._queue, self._tickets = env.entries, env.tickets
        self._priority = priority
        self._call = call
        self.due_ps: int | None = None
        self.ticket = UNSET

    def set(self, due_ps: int | None) -> None:
        """Rings at `due_ps` instead of whenever it was to ring; None silences it."""
        if due_ps == self.due_ps:
            return
        self.due_ps = due_ps
        if due_ps is None:
            self.ticket = UNSET
        else:
            self.ticket = ticket = next(self._tickets)
            heappush(self._queue, (due_ps, self._priority, ticket, self))

    def ring(self, ticket: int) -> None:
        """The time of the entry with this ticket has come."""
        if ticket == self.ticket:
            self.ticket = UNSET
            self.due_ps = None
            self._call()


Entry: TypeAlias = tuple[int, int, int, Alarm | Event]
"""When, after what else at that moment (priority and number), and what."""


class Clock(Environment):
    """A simpy environment that counts whole picoseconds and rings alarms.

    Attributes:
        entries: simpy's queue, alarms among the events.
        tickets: simpy's numbers for entries.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries = cast("list[Entry]", self._queue)
        self.tickets = self._eid

    @property
    def now_ps(self) -> int:
        """The time, picoseconds since the start."""
        return self._now  # type: ignore[return-value]  # it starts at the integer 0, and all delays are integers

    @property
    def idle(self) -> bool:
        """Whether nothing more is due."""
        return not any(what.ticket == ticket for _, _, ticket, what in self.entries if isinstance(what, Alarm))

    def step(self) -> None:
        """Processes the next event or alarm, as simpy asks for."""
        if self.entries and isinstance(alarm := self.entries[0][3], Alarm):
            self._now, _, ticket, _ = heappop(self.entries)
            alarm.ring(ticket)
        else:
            super().step()

    def serve(self, arrivals: Iterable[tuple[int, int]], arrive: Callable[[int], None], end_ps: int | None) -> None:
        """Runs the world with arrivals that come before all else that is due at their moment.

        Args:
            arrivals: pairs of a moment in picoseconds, rising, and what to call `arrive` with.
            end_ps: what is due then or later does not happen; None for where the clock ends, `END_PS`.
        """
        last_ps = END_PS if end_ps is None else end_ps
        for at_ps, which in arrivals:
            if at_ps >= last_ps:
                break
            self._until(at_ps)
            self._now = at_ps
            arrive(which)
        self._until(last_ps)
        if end_ps is not None:
            self._now = end_ps

    def _until(self, end_ps: int) -> None:
        """Processes what is due before `end_ps`, in order."""
        entries = self.entries
        while entries and entries[0][0] < end_ps:
            alarm = entries[0][3]
            if isinstance(alarm, Alarm):
                self._now, _, ticket, _ = heappop(entries)
                alarm.ring(ticket)
            else:
                super().step()
