"""What a router knows of a worker that reports its load now and then."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from sunsim.cluster.events import REPORT, Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from sunsim.cluster.events import Clock
    from sunsim.cluster.router import Load


class SeenLoad:
    """A worker's load as its router knows it: the last report, and what the router has sent since it was made."""

    def __init__(self) -> None:
        self.num_requests = 0
        self.num_tokens = 0
        self.sent = 0
        self._unreported: deque[int] = deque()

    def send(self, tokens: int) -> None:
        """The router gives the worker a request of so many tokens."""
        self.sent += 1
        self._unreported.append(tokens)
        self.num_requests += 1
        self.num_tokens += tokens

    def report(self, received: int, num_requests: int, num_tokens: int) -> None:
        """The worker's load when `received` of the requests sent to it had come."""
        while self.sent - len(self._unreported) < received:
            self._unreported.popleft()
        self.num_requests = num_requests + len(self._unreported)
        self.num_tokens = num_tokens + sum(self._unreported)


class Reporter:
    """Has a simulated worker report its load at whole multiples of `every_ps`, as long as it has requests.

    Args:
        on_report: told that what is seen has changed.
    """

    def __init__(
        self, env: Clock, worker: Load, every_ps: int, delay_ps: int, on_report: Callable[[SeenLoad], None]
    ) -> None:
        self.seen = SeenLoad()
        self._env = env
        self._worker = worker
        self._every_ps = every_ps
        self._delay_ps = delay_ps
        self._on_report = on_report
        self._alarm = Alarm(env, REPORT, self._report)

    def send(self, tokens: int) -> None:
        """The router gives the worker a request of so many tokens."""
        self.seen.send(tokens)
        if self._alarm.due_ps is None:
            self._alarm.set((self._env.now_ps // self._every_ps + 1) * self._every_ps)

    def _report(self) -> None:
        report = self.seen.sent, self._worker.num_requests, self._worker.num_tokens
        if self._delay_ps:
            Alarm(self._env, REPORT, partial(self._arrive, *report)).set(self._env.now_ps + self._delay_ps)
        else:
            self._arrive(*report)
        if self._worker.num_requests:
            self._alarm.set(self._env.now_ps + self._every_ps)

    def _arrive(self, received: int, num_requests: int, num_tokens: int) -> None:
        self.seen.report(received, num_requests, num_tokens)
        self._on_report(self.seen)
