"""Runs searches: simulates what they ask for, on all cores, and keeps it, so that nothing is simulated twice."""

from collections import deque
from collections.abc import Mapping
from contextlib import closing
from time import monotonic
from typing import Any

from sunsim.errors import SimulationError
from sunsim.plan.probe import Probe, outcome_of
from sunsim.plan.search import Search
from sunsim.points.local import run_local
from sunsim.points.outcome import Row
from sunsim.points.progress import progress
from sunsim.points.store import Store
from sunsim.scenario.blocks import Budget


class Lab:
    """Answers the searches' questions.

    Attributes:
        asked: probes that have been asked for, each once; those that were kept from before count too, so that the same
            command spends the same budget.
        simulated: of these, the ones that had to be simulated.
    """

    def __init__(self, store: Store, jobs: int, budget: Budget) -> None:
        self._store = store
        self._jobs = jobs
        self._budget = budget
        self._begun = monotonic()
        self._rows: dict[str, Row | None] = {}
        self._waiting: deque[Probe] = deque()
        self._pending: set[str] = set()
        self.asked = 0
        self.simulated = 0

    def conduct(self, searches: Mapping[str, Search[Any]], *, show_progress: bool) -> dict[str, Any]:
        """Runs searches that do not depend on one another to their end; what they found, by name.

        Raises:
            SimulationError: a simulation failed.
        """
        found: dict[str, Any] = {}
        wanted: dict[str, list[Probe] | None] = dict.fromkeys(searches)  # None: it has not begun

        def go_on() -> None:
            """Answers the searches as long as all that one of them asks for is known."""
            while ready := self._ready(wanted):
                for name in ready:
                    probes = wanted.pop(name)
                    rows = None if probes is None else [self._rows[probe.key] for probe in probes]
                    try:
                        wanted[name] = asked = searches[name].send(rows)
                    except StopIteration as stop:
                        found[name] = stop.value
                        continue
                    for probe in asked:
                        self._ask(probe)

        go_on()
        if not self._waiting:
            return found
        with (
            closing(run_local(self._waiting, self._jobs, outcome_of)) as ended,
            progress(len(self._waiting), wanted=show_progress) as advance,
        ):
            for probe, outcome in ended:
                if outcome.fault is not None:
                    raise SimulationError(outcome.fault)
                self._store.keep(probe, outcome.rows)
                self._rows[probe.key] = outcome.rows[0]
                self._pending.discard(probe.key)
                self.simulated += 1
                go_on()
                planned = f"{len(found)} of {len(searches)} arms planned"
                advance(0, self.simulated + len(self._pending), planned)
        return found

    def _ready(self, wanted: Mapping[str, list[Probe] | None]) -> list[str]:
        """The searches that can go on.

        Where a number of points is all that there is, all go on together once nothing is pending, each by one question:
        who gets the last points must hang neither on which simulation is quicker nor on what was kept from before.
        """
        if self._budget.points is not None and self._pending:
            return []
        return [name for name in wanted if all(probe.key in self._rows for probe in wanted[name] or ())]

    def _ask(self, probe: Probe) -> None:
        """Sees to it that a probe is answered: from the folder, by simulation, or with None when the budget is spent."""
        if probe.key in self._rows or probe.key in self._pending:
            return
        if self._spent():
            self._rows[probe.key] = None
            return
        self.asked += 1
        kept = self._store.rows(probe)
        if kept:
            self._rows[probe.key] = kept[0]
        else:
            self._pending.add(probe.key)
            self._waiting.append(probe)

    def _spent(self) -> bool:
        points, seconds = self._budget.points, self._budget.seconds
        return (points is not None and self.asked >= points) or (
            seconds is not None and monotonic() - self._begun >= seconds
        )
