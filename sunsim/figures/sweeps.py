"""The sweeps that figures are made from: scenario files, simulated point by point and kept."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from sunsim.errors import InputError
from sunsim.points.keep import keep_all
from sunsim.points.local import run_local
from sunsim.points.point import outcome_of
from sunsim.points.store import Store
from sunsim.scenario.shipped import scenarios_root
from sunsim.sweep.grid import Grid, load_grid
from sunsim.visible import visible

Frames = Mapping[str, pd.DataFrame]
"""By the name of a sweep: a row a point and arm, see `frame`."""


@dataclass(frozen=True, slots=True)
class SweepFile:
    """A scenario with a sweep block.

    Attributes:
        name: of the sweep, its own among all figures.
        file: without its ending, in the folder of the figures' scenarios.
        overrides: ``path=value`` each.
    """

    name: str
    file: str = ""
    overrides: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the scenario lies."""
        return scenario_file(self.file or self.name)


def scenario_file(name: str) -> Path:
    """The file of a shipped scenario of the figures: beside the package in a checkout, inside it when installed."""
    return scenarios_root() / "figures" / f"{name}.yaml"


def plans(sweeps: Iterable[SweepFile]) -> dict[str, Grid]:
    """By name.

    Raises:
        InputError: a scenario is wrong.
    """
    return {sweep.name: load_grid(sweep.path, sweep.overrides) for sweep in sweeps}


def simulate(planned: Mapping[str, Grid], store: Store, jobs: int) -> bool:
    """Simulates the points that are not kept yet; says on stderr which failed, and returns whether none did."""
    points = [point for grid in planned.values() for point in grid.points()]
    failed = keep_all(points, store, partial(run_local, jobs=jobs, work=outcome_of), show_progress=True)
    if failed:
        said = dict.fromkeys(f"{point.scenario.name}, seed {point.seed}: {fault}" for point, fault in failed)
        sys.stderr.write("\n".join([f"{len(failed)} points failed:", *map(visible, said)]) + "\n")
    return not failed


def frame(plan: Grid, store: Store) -> pd.DataFrame:
    """A row a point and arm: the swept values under the last part of their path, `seed`, `arm` and its metrics."""
    found: list[dict[str, object]] = []
    for point in plan.points():
        values = plan.combinations[point.combination].values
        swept = {path.rpartition(".")[2]: value for path, value in values.items()}
        rows = store.rows(point)
        if not rows:
            message = "a kept point was lost or damaged meanwhile: give the command again"
            raise InputError(message, store.folder)
        found += [{**swept, "seed": point.seed} | row for row in rows]
    return pd.DataFrame(found)
