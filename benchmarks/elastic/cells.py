"""One arm of a day on its requests: what it costs, and how many of each model's requests it serves in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sunsim.clock import PS_PER_S
from sunsim.cluster.events import LOOK, Alarm
from sunsim.cluster.simulation import simulate_arm
from sunsim.cluster.world import World
from sunsim.metrics.held import Held, sizes_by_pool
from sunsim.metrics.rows import Requests as Rows
from sunsim.metrics.rows import Window
from sunsim.metrics.slo import limits_each, meets_slo
from sunsim.metrics.worst import worst_window
from sunsim.records import ArmResult
from sunsim.scenario import Arm, Scenario
from sunsim.workload.requests import Requests

MEAN, WORST = 0.99, 0.95
"""Of each model's requests, that must meet the SLO: over all that is measured, and in its worst window."""
WINDOW_S = 300.0
"""Of a scenario that does not say."""
FLOODED = 5_000
"""Requests in one stage beyond which a run is ended: most of them miss their SLO whatever comes."""
LOOK_PS = 20 * PS_PER_S


class Figures(NamedTuple):
    """Of one arm.

    Attributes:
        gpu_hours: held inside the window.
        peak_gpus: the most held at a moment.
        mean, worst: share of requests that met the SLO, of the model that has least of it: of all, and of its worst window.
        requests: measured.
        least: the model whose worst window is that one.
    """

    gpu_hours: float
    peak_gpus: int
    mean: float
    worst: float
    requests: int
    least: str = ""

    @property
    def kept(self) -> bool:
        """Whether every model has got what was promised."""
        return self.mean >= MEAN and self.worst >= WORST


class FloodedError(Exception):
    """More requests wait than can be served in time."""


@dataclass(frozen=True, slots=True)
class Flood:
    """Ends a run in which requests pile up, which would take long and is lost."""

    most: int = FLOODED

    def __call__(self, world: World) -> None:
        """Begins to look at this world now and then."""
        alarm = Alarm(world.env, LOOK, lambda: self._look(world, alarm))
        alarm.set(LOOK_PS)

    def _look(self, world: World, alarm: Alarm) -> None:
        for pool in (world.prefill, world.decode):
            if pool and sum(worker.num_requests for worker in pool.workers) > self.most:
                raise FloodedError
        if not world.env.idle:
            alarm.set(world.env.now_ps + LOOK_PS)


def gpus_held(arm: Arm, result: ArmResult) -> Held:
    """Of all pools of a simulated arm together."""
    elastic = sizes_by_pool(result.sizes)
    (gpus,) = {pool.profile.gpus for pool in arm.pools().values()}
    fixed = sum(pool.gpus for pool in arm.pools().values() if not pool.elastic)
    return Held.total([Held.fixed(fixed), *(Held.of_sizes(sizes, gpus) for sizes in elastic.values())])


def figures(scenario: Scenario, arm: Arm, result: ArmResult, windows: Sequence[Window]) -> Figures:
    """Of a simulated arm, over one or several stretches."""
    rows = Rows.from_rows(result.rows)
    met = meets_slo(rows, limits_each(scenario.slo.limits, result.rows["model"]))
    column = result.rows["model"].astype("category").cat
    model = column.codes.to_numpy()
    measured = np.any([window.holds(rows.arrival_s) for window in windows], axis=0)
    means: list[float] = []
    worsts: dict[float, str] = {}
    length_s = scenario.slo.worst_window_s or WINDOW_S
    for number in np.unique(model[measured]).tolist():
        own = measured & (model == number)
        means.append(float(met[own].mean()))
        for window in windows:
            inside = own & window.holds(rows.arrival_s)
            share = worst_window(rows.arrival_s[inside], met[inside], window, length_s).share
            worsts[1.0 if share is None else share] = str(column.categories[number])
    worst = min(worsts)
    held = gpus_held(arm, result)
    hours = sum(float(held.mean(window).sum()) * (window.end_s - window.start_s) / 3600 for window in windows)
    most = int(max(held.peak(window) for window in windows))
    return Figures(hours, most, min(means), worst, int(measured.sum()), worsts[worst])


def served(scenario: Scenario, arm: Arm, requests: Requests, windows: Sequence[Window]) -> Figures | None:
    """What an arm makes of requests; None if they pile up."""
    try:
        result = simulate_arm(scenario, arm, requests, watch=Flood())
    except FloodedError:
        return None
    return figures(scenario, arm, result, windows)


def cheapest(knobs: Sequence[Any], first: int, keeps: Callable[[Any], bool]) -> int:
    """The last of `knobs`, which go from dear to cheap, that still keeps what is promised; -1 if the first does not.

    From the guess `first` on in widening steps, then by halves: whatever is dearer than one that keeps it does, too.
    """
    low, high, step = -1, len(knobs), 1
    at = first
    while high - low > 1:
        if keeps(knobs[at]):
            low = at
            at = min(at + step, high - 1) if high == len(knobs) else (low + high) // 2
        else:
            high = at
            at = max(at - step, low + 1) if low == -1 else (low + high) // 2
        step *= 2
    return low
