"""The clock's part of the cluster: callbacks at integer picoseconds, in an order that never depends on history.

What falls due at one instant happens stage by stage, and within a stage by number: arrivals first, then transfers, then
prefill workers, then decode workers. So two engines that schedule their wake-ups at different moments still see the
same world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simpy import Environment
from simpy.events import NORMAL, Event, EventPriority

if TYPE_CHECKING:
    from collections.abc import Callable

# Priorities of simpy's queue; its own events and timeouts, and so arrivals, have NORMAL.
TRANSFER = NORMAL + 1
PREFILL = NORMAL + 2
DECODE = PREFILL + 1_000_000


class Clock(Environment):
    """A simpy environment that counts whole picoseconds."""

    @property
    def now_ps(self) -> int:
        """The time, picoseconds since the start."""
        return self._now  # type: ignore[return-value]  # it starts at the integer 0, and all delays are integers


class _Due(Event):
    """An event that is triggered from the start, as simpy's timeouts are, but may have any priority."""

    def __init__(self, env: Clock, call: Callable[[Event], None]) -> None:
        self.env = env
        self.callbacks = [call]
        self._ok = True
        self._value = None


class Alarm:
    """Calls back at one moment, which may be moved while it has not come."""

    __slots__ = ("_call", "_due", "_env", "_event", "_priority")

    def __init__(self, env: Clock, priority: int, call: Callable[[], None]) -> None:
        self._env = env
        self._priority = EventPriority(priority)
        self._call = call
        self._due: int | None = None
        self._event: Event | None = None

    def set(self, due_ps: int | None) -> None:
        """Rings at `due_ps` instead of whenever it was to ring; None silences it."""
        if due_ps == self._due:
            return
        self._due = due_ps
        if due_ps is None:
            self._event = None
            return
        self._event = _Due(self._env, self._ring)
        self._env.schedule(self._event, self._priority, due_ps - self._env.now_ps)

    def _ring(self, event: Event) -> None:
        if event is not self._event:
            return
        self._due = None
        self._event = None
        self._call()
