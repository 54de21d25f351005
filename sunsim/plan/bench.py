"""One arm under one set of conditions: gives verdicts on sizes, over all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sunsim.clock import to_s
from sunsim.measured import window_of
from sunsim.plan.conditions import AS_PLANNED, Conditions, accepting, requests_under, take_turns, under
from sunsim.plan.knobs import STEP, Knob, Values, knob_of, resized
from sunsim.plan.load import starts
from sunsim.plan.probe import ALL, Probe
from sunsim.plan.search import Search, Sizes
from sunsim.plan.verdict import Met, Verdict
from sunsim.plan.windows import Stretches
from sunsim.points.outcome import Row
from sunsim.roles import Role, Stage
from sunsim.scenario import Arm, Scenario
from sunsim.workload.requests import Requests


class Bench:
    """Asks for the simulations of one arm under some conditions, and remembers the verdicts.

    Attributes:
        given: the numbers of workers that are searched, as the scenario's file has them, by role, prefill first. Of an
            elastic pool it is the place of its knob's value, under a role that stands for the whole pool.
        knobs: of the elastic pools among them, by that role.
        problems: roles that can be sized apart from all others, under the one model whose they are; None for all.
        gpus: of a worker of each.
        most: the largest number of each to try.
        prices: of a worker of each, as a multiple of the cheapest; by its GPUs where none is stated. A step of a knob counts
            as what it adds to the workers that the load asks for.
    """

    def __init__(self, scenario: Scenario, arm: Arm, log: list[Verdict], conditions: Conditions = AS_PLANNED) -> None:
        """`scenario`: with its plan block; `log`: gets every verdict.

        Raises:
            InputError: the requests cannot be made, or cannot be served.
        """
        assert scenario.plan
        plan, pools = scenario.plan, arm.pools()
        self.scenario = scenario
        self.arm = arm
        self.conditions = conditions
        self.knobs: dict[Role, Knob] = {}
        self.given: dict[Role, int] = {}
        for stage, pool in pools.items():
            if plan.size not in {"both", stage}:
                continue
            if not pool.elastic:
                self.given |= pool.roles
            elif knob := knob_of(pool):
                self.knobs[Role(stage, None, pool.module)] = knob
                self.given[Role(stage, None, pool.module)] = knob.given
        self.roles = list(self.given)
        self.gpus = {role: pools[role.stage].profile.gpus for role in self.roles}
        self.most = {role: plan.most_gpus(role.stage)[1] // self.gpus[role] for role in self.roles}
        self.most |= {role: len(knob.values) for role, knob in self.knobs.items()}
        stated = {role: (plan.price_of(pools[role.stage].card) or 1.0) * self.gpus[role] for role in self.roles}
        cheapest = min(stated.values(), default=1.0)
        asked = starts(scenario, arm, list(self.knobs))
        stated |= {role: stated[role] * workers * (STEP - 1) for role, workers in asked.items()}
        self.prices = {role: price / cheapest for role, price in stated.items()}
        self.verdicts: dict[tuple[Any, ...], Verdict] = {}
        self.log = log
        self._stretches = Stretches.of(scenario)
        base = under(scenario, conditions).changed(plan=None, sweep=None)
        self._seeds = [base.changed(seed=scenario.seed + i) for i in range(plan.seeds)]
        drawn = [requests_under(seed, conditions) for seed in self._seeds]
        self.problems: dict[str | None, list[Role]] = {None: self.roles}
        apart = not arm.elastic and not any(pool.shared for pool in pools.values())
        if apart and not any(map(take_turns, drawn)):
            self.problems = {name: [r for r in self.roles if r.model == name] for name in scenario.model_names}
        # When rounds that follow others arrive, and so how many do inside the window, is for each simulation to say. Where
        # nothing is searched, what elastic pools hold is told of an arm that fails, too, so it is simulated to the end.
        self._allowed: tuple[int, ...] | None = None
        react = any(requests.sessions and requests.sessions.react for requests in drawn)
        if not react and (self.roles or not arm.elastic):
            inside = [_counted(seed, requests) for seed, requests in zip(self._seeds, drawn, strict=True)]
            self._allowed = tuple(self._stretches.may_miss(np.sum(inside, axis=0)).tolist())

    def under(self, conditions: Conditions) -> Bench:
        """The same arm under other conditions, with the same log.

        Raises:
            InputError: as when it is made.
        """
        return Bench(self.scenario, self.arm, self.log, conditions)

    def sized(self, sizes: Sizes) -> Arm:
        """The arm with these sizes; a searched pool that is not among them has one worker, which nobody asks for."""
        fixed = {role: sizes.get(role, 1) for role in self.roles if role not in self.knobs}
        arm = resized(self.arm, fixed, self.values(sizes))
        return replace(arm, block=accepting(arm.block, self.conditions.accepted))

    def values(self, sizes: Sizes) -> dict[Stage, Values]:
        """What the policies of the elastic pools among these sizes are given."""
        return {role.stage: knob.at(sizes[role]) for role, knob in self.knobs.items() if role in sizes}

    def gpus_of(self, sizes: Sizes) -> dict[str, float]:
        """GPUs of each stage with these sizes, and of all; of elastic pools those that they held in the mean, as judged."""
        pools = self.sized(sizes).pools()
        gpus: dict[str, float] = {str(stage): pool.gpus for stage, pool in pools.items()}
        if self.arm.elastic:
            held = self.verdicts[(None, *sizes.items())].held
            gpus |= {str(stage): held[stage]["mean_gpus"] for stage, pool in pools.items() if pool.elastic}
        return gpus | {ALL: sum(gpus.values())}

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
        if rows[0] is not None and others and (self._allowed is None or self._verdict(sizes, model, rows).passes):
            rows += yield others
        if None in rows:
            return None
        verdict = self.verdicts[asked] = self._verdict(sizes, model, rows)
        self.log.append(verdict)
        return verdict

    def to_the_end(self, sizes: Sizes, model: str | None = None) -> Search[Verdict | None]:
        """The verdict with all seeds simulated to the end even where it is certain before; None as for `judge`."""
        rows = yield self.probes(sizes, model, to_the_end=True)
        return None if None in rows else self._verdict(sizes, model, rows)

    def _verdict(self, sizes: Sizes, model: str | None, rows: Sequence[Row]) -> Verdict:
        first = self._seeds[0]
        if self._allowed is None:
            came = {name: sum(row["models"][name]["requests"] for row in rows) for name in rows[0]["models"]}
            allowed = {name: int(self._stretches.may_miss(requests)) for name, requests in came.items()}
        else:
            allowed = dict(zip(first.model_names, self._allowed, strict=True))
        models = {
            name: Met.of([row["models"][name] for row in rows], allowed[name], first.seed) for name in rows[0]["models"]
        }
        together = Met.of([row["together"] for row in rows], sum(allowed.values()), first.seed)
        return Verdict(dict(sizes), self.conditions, model, rows, models, together, self._stretches.required)


def _counted(scenario: Scenario, drawn: Requests) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Requests of each model in the window."""
    inside = window_of(scenario, drawn).holds(to_s(drawn.arrival_ps))
    return np.bincount(drawn.model[inside], minlength=len(scenario.model_names))
