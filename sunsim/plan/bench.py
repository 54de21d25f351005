"""One arm under one set of conditions: gives verdicts on sizes, over all seeds."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from sunsim.clock import to_s
from sunsim.measured import window_of
from sunsim.plan.conditions import AS_PLANNED, Conditions, requests_under, under
from sunsim.plan.probe import Probe
from sunsim.plan.search import Coordinate
from sunsim.plan.windows import Stretches
from sunsim.roles import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sunsim.plan.search import Search, Sizes
    from sunsim.points.point import Row
    from sunsim.scenario import Arm, Pool, Scenario

SHARED = "*"


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """Whether sizes hold under conditions.

    Attributes:
        model: the one whose requests were simulated; None for all.
        rows: of the seeds, in order. Fewer than seeds where the first was enough to fail.
        allowed: of each model, how many requests of all seeds together may miss their SLO.
        stretches: what is asked of windows.
    """

    arm: str
    sizes: Sizes
    conditions: Conditions
    model: str | None
    rows: Sequence[Row]
    allowed: dict[str, int]
    stretches: Stretches

    def total(self, kind: str) -> dict[str, int]:
        """Of each model, over the seeds that were simulated: `requests`, `missed`, `ttft`, `tpot` or `beyond`."""
        return {name: sum(row[kind][name] for row in self.rows) for name in self.rows[0][kind]}

    @property
    def whole(self) -> bool:
        """Whether all seeds ran to their end, so that the shares are exact and not only bounds."""
        return all(row["stopped_s"] is None for row in self.rows)

    @property
    def passes(self) -> bool:
        """No model misses more than it may, and no queue still grows when measuring ends."""
        return not any(self._misses_too_much(name) for name in self.rows[0]["missed"]) and not self.overloaded

    def _misses_too_much(self, model: str) -> bool:
        if self.stretches.required:
            return self.total("beyond")[model] > 0
        return self.total("missed")[model] > self.allowed[model]

    @property
    def overloaded(self) -> list[str]:
        """Models whose queue still grows when measuring ends, with at least one seed; `all` if it is none's alone."""
        return sorted({name for row in self.rows for name in row["overloaded"]})

    @property
    def worst_model(self) -> str:
        """The model that a run was ended for, or the one furthest beyond what it may miss."""
        stopped = [str(row["broke"]) for row in self.rows if row["broke"]]
        if stopped:
            return stopped[0]
        requests, missed = self.total("requests"), self.total("missed")
        over = {name: (missed[name] - self.allowed[name]) / max(requests[name], 1) for name in requests}
        if self.stretches.required:
            over = {name: 1 - (self.worst_window(name) or {"share": 1.0})["share"] for name in requests}
        worst = max(over, key=lambda name: over[name])
        queues = [name for name in self.overloaded if name in over]
        if not self._misses_too_much(worst) and self.overloaded:
            return max(queues or over, key=lambda name: requests[name])
        return worst

    @property
    def broken_slo(self) -> str:
        """Which limit its worst model misses more often, or ``queue`` if it only is overloaded."""
        worst = self.worst_model
        ttft, tpot = self.total("ttft")[worst], self.total("tpot")[worst]
        if not self._misses_too_much(worst):
            return "queue"
        return "TTFT" if ttft >= tpot else "TPOT"

    @property
    def attained(self) -> float | None:
        """Share of all requests that meet every SLO; an upper bound where a run was ended early."""
        requests = sum(self.total("requests").values())
        return 1 - sum(self.total("missed").values()) / requests if requests else None

    def attained_by(self, model: str) -> float | None:
        """The same of one model."""
        requests = self.total("requests")[model]
        return 1 - self.total("missed")[model] / requests if requests else None

    def attained_by_seed(self, model: str) -> list[float]:
        """The share of one model with each seed that has requests of it."""
        return [1 - row["missed"][model] / row["requests"][model] for row in self.rows if row["requests"][model]]

    def worst_window(self, model: str | None = None) -> dict[str, Any] | None:
        """The worst window of a model, or of all requests, with any seed: `share`, `start_s` and `seed`.

        None where no run with such requests came to its end.
        """
        found = [row["worst_of_all"] if model is None else row["worst"][model] for row in self.rows]
        known = [{**worst, "seed": n} for n, worst in enumerate(found) if worst and worst["share"] is not None]
        return min(known, key=lambda worst: float(worst["share"]), default=None)

    def figure(self, tag: str) -> list[float]:
        """A figure with each seed that ran to its end and has it."""
        return [row["figures"][tag] for row in self.rows if row["figures"] and row["figures"][tag] is not None]


class Bench:
    """Asks for the simulations of one arm under some conditions, and remembers the verdicts."""

    def __init__(self, scenario: Scenario, arm: Arm, log: list[Verdict], conditions: Conditions = AS_PLANNED) -> None:
        """`scenario`: with its plan block; `log`: gets every verdict.

        Raises:
            InputError: the requests cannot be made, or cannot be served.
        """
        assert scenario.plan
        self.plan = scenario.plan
        self.arm = arm
        self.conditions = conditions
        base = under(scenario, conditions).changed(plan=None, sweep=None)
        self._seeds = [base.changed(seed=scenario.seed + i) for i in range(self.plan.seeds)]
        self.models = scenario.model_names
        self._stretches = Stretches.of(scenario)
        requests = np.sum([counted(seed, conditions) for seed in self._seeds], axis=0)
        share = 1 - self.plan.attainment
        self._allowed = tuple(floor(n * share + 1e-9) for n in requests.tolist())
        self.verdicts: dict[tuple[Any, ...], Verdict] = {}
        self._log = log

    def coordinates(self) -> list[Coordinate]:
        """The pools whose size is searched, prefill first."""
        stages = {"both": ("prefill", "decode"), "none": ()}.get(self.plan.size, (self.plan.size,))
        return [
            Coordinate(stage, group)
            for stage, pool in self.arm.pools().items()
            if stage in stages
            for group in groups(pool)
        ]

    def problems(self) -> Iterator[tuple[str | None, list[Coordinate]]]:
        """Pools that can be sized apart from all others, with the one model whose they are; None for all."""
        coordinates = self.coordinates()
        if not any(pool.shared for pool in self.arm.pools().values()):
            for model in self.models:
                yield model, [coordinate for coordinate in coordinates if coordinate.group == model]
        else:
            yield None, coordinates

    def given(self) -> dict[Coordinate, int]:
        """The sizes that the scenario's file gives to the pools that are searched."""
        pools = self.arm.pools()
        return {c: groups(pools[Stage(c.stage)])[c.group] for c in self.coordinates()}

    def most(self, coordinate: Coordinate) -> int:
        """The largest size to try."""
        return self.plan.max_prefill_gpus if coordinate.stage == "prefill" else self.plan.max_decode_gpus

    def sized(self, sizes: Sizes) -> Arm:
        """The arm with these sizes; a searched pool that is not among them has one worker, which nobody asks for."""
        workers: dict[Stage, int | dict[str, int]] = {}
        for stage, pool in self.arm.pools().items():
            searched = {c.group: sizes.get(c, 1) for c in self.coordinates() if c.stage == stage}
            if searched:
                workers[stage] = searched[SHARED] if pool.shared else searched
        return self.arm.with_workers(workers)

    def probes(self, sizes: Sizes, model: str | None, *, to_the_end: bool = False) -> list[Probe]:
        """A simulation for each seed; ended as soon as it is certain that all seeds together fail."""
        arms = [self.sized(sizes)]
        allowed = None if to_the_end else self._allowed
        return [Probe(seed.with_arms(arms), self.conditions, model, allowed, self._stretches) for seed in self._seeds]

    def portrait(self, sizes: Sizes) -> Probe:
        """A closer look at the first seed."""
        scenario = self._seeds[0].with_arms([self.sized(sizes)])
        return Probe(scenario, self.conditions, look_closer=True)

    def judge(self, sizes: Sizes, model: str | None = None) -> Search[Verdict | None]:
        """The verdict over all seeds; None when the budget is spent. The first seed alone may be enough to fail."""
        asked = (model, *sizes.items())
        if asked in self.verdicts:
            return self.verdicts[asked]
        first, *others = self.probes(sizes, model)
        rows = yield [first]
        if rows[0] is None:
            return None
        verdict = self._verdict(sizes, model, rows)
        if verdict.passes and others:
            rows += yield others
            if None in rows:
                return None
            verdict = self._verdict(sizes, model, rows)
        self.verdicts[asked] = verdict
        self._log.append(verdict)
        return verdict

    def to_the_end(self, sizes: Sizes, model: str | None = None) -> Search[Verdict | None]:
        """The verdict with all seeds simulated to the end even where it is certain before; None as for `judge`."""
        rows = yield self.probes(sizes, model, to_the_end=True)
        return None if None in rows else self._verdict(sizes, model, rows)

    def _verdict(self, sizes: Sizes, model: str | None, rows: Sequence[Row]) -> Verdict:
        allowed = dict(zip(self.models, self._allowed, strict=True))
        return Verdict(self.arm.name, dict(sizes), self.conditions, model, rows, allowed, self._stretches)


def groups(pool: Pool) -> dict[str, int]:
    """Workers of each of a pool's parts that have workers of their own."""
    return {role.serves: workers for role, workers in pool.roles.items()}


def counted(scenario: Scenario, conditions: Conditions) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Requests of each model in the window.

    Raises:
        InputError: they cannot be made, or cannot be served.
    """
    drawn = requests_under(scenario, conditions)
    inside = window_of(scenario, drawn).holds(to_s(drawn.arrival_ps))
    return np.bincount(drawn.model[inside], minlength=len(scenario.model_names))
