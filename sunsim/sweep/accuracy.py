"""How right the arms of a sweep's combinations answer, where the scenario says so."""

from collections.abc import Iterator, Mapping
from typing import Any

from sunsim.report.accuracy import accuracy_entry, accuracy_files, accuracy_told
from sunsim.sweep.grid import Grid

Entries = Mapping[str, Mapping[str, Any] | None]


def accuracy_of(grid: Grid) -> dict[int, Entries]:
    """For each combination whose values go together, its arms' `accuracy_entry`; empty where no arm of any names a file."""
    if not any(arm.accuracy for scenario in grid.scenarios for arm in scenario.arms):
        return {}
    return {
        index: {arm.name: accuracy_entry(arm) for arm in each.scenario.arms}
        for index, each in enumerate(grid.combinations)
        if each.scenario
    }


def told_of(grid: Grid) -> Iterator[str]:
    """What that was measured on, each sentence once."""
    files = accuracy_files(arm for scenario in grid.scenarios for arm in scenario.arms)
    yield from dict.fromkeys(said for of_arms in accuracy_of(grid).values() for said in accuracy_told(of_arms, files))
