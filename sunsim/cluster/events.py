"""SimPy's environment in whole picoseconds, and the one thing that goes past SimPy's events: a worker's alarm.

What falls due at one instant happens stage by stage, and within a stage by number: first what comes from outside, then
transfers, then prefill workers, then decode workers, then reports of their load, then elastic pools. So two engines that schedule their
wake-ups at different moments still see the same world. SimPy's own timeouts and processes come with what is from
outside.

Nearly all that happens is the wake-up of a worker or of a link, moved ahead again and again, or comes once for each
request of a stream. An `Alarm` does that without an event, a callback and a process each time: it lies among SimPy's
events in its queue. By ``python -m benchmarks.loop`` a process that waits for each arrival makes decode-only 13 % slower
(20 % compiled), and SimPy's timeouts for transfers and hand-overs make with-prefill 3 % slower. All else, clients and
reports of load, are SimPy's processes and events.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeAlias, cast

from simpy import Environment
from simpy.events import NORMAL, Event, EventPriority

from sunsim.clock import END_PS
from sunsim.cluster.sequence import UNSET

# Priorities of SimPy's queue; its own timeouts and what processes do have the first.
ARRIVAL = NORMAL
TRANSFER = NORMAL + 1
PREFILL = NORMAL + 2
DECODE = PREFILL + 1_000_000
REPORT = DECODE + 1_000_000
STARTED = REPORT + 1
RESIZE = REPORT + 2
LOOK = REPORT + 3
"""For those who look at a world and change nothing in it."""


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
        if ticket == self.ticket:  # else it has been moved meanwhile
            self.ticket = UNSET
            self.due_ps = None
            self._call()


Entry: TypeAlias = tuple[int, int, int, Alarm | Event]
"""When, after what else at that moment (priority and number), and what."""


class Clock(Environment):
    """A SimPy environment that counts whole picoseconds and rings alarms.

    Attributes:
        entries: SimPy's queue, alarms among the events.
        tickets: SimPy's numbers for entries.
    """

    _now: int  # SimPy's own; it starts at the integer 0, and all delays are integers

    def __init__(self) -> None:
        super().__init__()
        self.entries = cast("list[Entry]", self._queue)
        self.tickets = self._eid

    @property
    def now_ps(self) -> int:
        """The time, picoseconds since the start."""
        return self._now

    @property
    def idle(self) -> bool:
        """Whether nothing more is due."""
        return all(isinstance(what, Alarm) and what.ticket != ticket for _, _, ticket, what in self.entries)

    @property
    def only_resizes(self) -> bool:
        """Whether nothing more is due but that elastic pools grow and shrink, or that somebody looks."""
        return all(
            priority >= STARTED or (isinstance(what, Alarm) and what.ticket != ticket)
            for _, priority, ticket, what in self.entries
        )

    def at(self, due_ps: int, priority: int) -> Event:
        """A timeout with a place of its own among all that is due at `due_ps`."""
        event = Event(self)
        event._ok, event._value = True, None  # as SimPy's own timeout does
        self.schedule(event, EventPriority(priority), due_ps - self.now_ps)
        return event

    def after(self, delay_ps: int, call: Callable[[], None]) -> None:
        """Calls back when a transfer or the way to the next stage has taken so long."""
        Alarm(self, TRANSFER, call).set(self.now_ps + delay_ps)

    def step(self) -> None:
        """Processes the next event or alarm, as SimPy asks for."""
        if self.entries and isinstance(alarm := self.entries[0][3], Alarm):
            self._now, _, ticket, _ = heappop(self.entries)
            alarm.ring(ticket)
        else:
            super().step()

    def run(self, until: float | Event | None = None) -> Any:
        """As SimPy's: what is due at `until` or later does not happen; without it, what is due where the clock ends."""
        if isinstance(until, Event):
            return super().run(until)
        entries, end_ps = self.entries, END_PS if until is None else until
        while entries and entries[0][0] < end_ps:
            alarm = entries[0][3]
            if isinstance(alarm, Alarm):  # `step`, spelled out
                self._now, _, ticket, _ = heappop(entries)
                alarm.ring(ticket)
            else:
                super().step()
        if until is not None:
            self._now = int(until)
        return None
