"""What a router knows of a worker that reports its load now and then."""

from collections import deque
from collections.abc import Callable, Generator

from simpy.events import Event

from sunsim.cluster.events import REPORT, Clock
from sunsim.cluster.router import Load


class SeenLoad:
    """A worker's load as its router knows it: the last report, and what the router has sent since it was made."""

    def __init__(self) -> None:
        self.num_requests = 0
        self.num_tokens = 0
        self.promised_tokens = 0
        self._reported = 0
        self._unreported: deque[tuple[int, int]] = deque()

    @property
    def sent(self) -> int:
        """Requests given to the worker so far."""
        return self._reported + len(self._unreported)

    def send(self, tokens: int, promised_tokens: int = 0) -> None:
        """The router gives the worker a request of so many tokens, which will have so many in the end."""
        self._unreported.append((tokens, promised_tokens))
        self.num_requests += 1
        self.num_tokens += tokens
        self.promised_tokens += promised_tokens

    def report(self, received: int, num_requests: int, num_tokens: int, promised_tokens: int = 0) -> None:
        """The worker's load when `received` of the requests sent to it had come."""
        while self._reported < received:
            self._unreported.popleft()
            self._reported += 1
        self.num_requests = num_requests + len(self._unreported)
        self.num_tokens = num_tokens + sum([tokens for tokens, _ in self._unreported])
        self.promised_tokens = promised_tokens + sum([promised for _, promised in self._unreported])


class Reporter:
    """Has a simulated worker report its load at whole multiples of `every_ps`, as long as it has requests.

    Args:
        on_report: told that what is seen has changed.
        promises: whether the worker's report says what its requests will have.
    """

    def __init__(
        self,
        env: Clock,
        worker: Load,
        every_ps: int,
        delay_ps: int,
        on_report: Callable[[SeenLoad], None],
        *,
        promises: bool = False,
    ) -> None:
        self.seen = SeenLoad()
        self._env = env
        self._worker = worker
        self._every_ps = every_ps
        self._delay_ps = delay_ps
        self._on_report = on_report
        self._promises = promises
        self._reporting = False

    def send(self, tokens: int, promised_tokens: int = 0) -> None:
        """The router gives the worker a request of so many tokens, which will have so many in the end."""
        self.seen.send(tokens, promised_tokens)
        if not self._reporting:
            self._reporting = True
            self._env.process(self._reports())

    def _reports(self) -> Generator[Event]:
        """The process that reports until the worker has nothing left."""
        env, worker = self._env, self._worker
        while self._reporting:
            yield env.at((env.now_ps // self._every_ps + 1) * self._every_ps, REPORT)
            promised_tokens = worker.promised_tokens if self._promises else 0
            report = self.seen.sent, worker.num_requests, worker.num_tokens, promised_tokens
            self._reporting = worker.num_requests > 0
            env.process(self._deliver(*report))

    def _deliver(self, *report: int) -> Generator[Event]:
        """The process that brings a report to the router."""
        if self._delay_ps:
            yield self._env.at(self._env.now_ps + self._delay_ps, REPORT)
        self.seen.report(*report)
        self._on_report(self.seen)
