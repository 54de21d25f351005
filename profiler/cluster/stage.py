"""One stage of a live arm: its workers, whom the next request goes to, and what has become of each."""

import time
from dataclasses import dataclass

from profiler.cluster.handle import WorkerHandle
from profiler.cluster.messages import Begin, Done, End, Ended, LoadReport, Ready, Serve
from profiler.recording import RequestStamps
from sunsim.cluster.load_report import SeenLoad
from sunsim.cluster.router import Asked
from sunsim.cluster.routes import Routes
from sunsim.scenario import Pool, Scenario


@dataclass(slots=True)
class Visit:
    """A request's time in a stage.

    slot: of its worker. sent_s: the router gave it away. known_s: the router heard that it had ended. Both are
    CLOCK_MONOTONIC seconds.
    """

    slot: int
    sent_s: float
    known_s: float | None = None
    stamps: RequestStamps | None = None


class Stage:
    """The workers of a pool block, by slot.

    Attributes:
        visits: by the number of the request.
        ended: what each worker did, once the run is over.
    """

    def __init__(self, block: Pool, scenario: Scenario, workers: list[WorkerHandle], run: int) -> None:
        self.name = str(block.stage)
        self._run = run
        self.workers = workers
        self.visits: dict[int, Visit] = {}
        self.ended: list[Ended] = []
        self.routes = Routes(block, scenario.seed, scenario.model_names)
        self._every_s = block.load_report.every_ms / 1000 if block.load_report else None
        self._seen = [SeenLoad() for _ in workers]
        self._eased = [self.routes.eased(slot) for slot in range(len(workers))]
        self.routes.watch(self._seen)

    async def begin(self) -> None:
        """All workers are ready afterwards."""
        for worker in self.workers:
            worker.send(Begin(self._run, self._every_s))
            while (await worker.next(Ready)).run != self._run:
                """An answer to a run that broke off before it came."""

    def send(self, model: int, order: Serve, *, session: int | None = None, slot: int | None = None) -> None:
        """Gives a request of the model with this index to the worker of this slot, or the one that the router picks.

        session: that it is a round of.
        """
        if slot is None:
            # What is in the workers' caches nobody tells the router.
            slot = self.routes.pick(model, None if session is None else Asked(session, lambda _slot: 0))
        self._seen[slot].send(order.prompt_tokens)
        self.visits[order.index] = Visit(slot, time.monotonic())
        self.workers[slot].send(order)

    def is_own(self, run: int) -> bool:
        """Whether a message is of this run."""
        return run == self._run

    def heard(self, slot: int, report: LoadReport) -> None:
        """A worker says what its load is."""
        if not self.is_own(report.run):
            return
        seen = self._seen[slot]
        seen.report(report.received, report.num_requests, report.num_tokens)
        self._eased[slot](seen)

    def done(self, done: Done) -> bool:
        """A request is through; whether it is one of this run."""
        if not self.is_own(done.run):
            return False
        visit = self.visits[done.index]
        visit.known_s = time.monotonic()
        visit.stamps = done.stamps
        return True

    async def end(self) -> None:
        """Collects what the workers did."""
        for worker in self.workers:
            worker.send(End())
            self.ended.append(await worker.next(Ended))
