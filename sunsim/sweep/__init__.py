"""Sweeps: a scenario simulated for every combination of values and every seed of its `sweep` block."""

# `import sunsim` holds `sweep`, and must not wait for what it needs.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.scenario.loading import Given
    from sunsim.sweep.result import SweepResult


def sweep(
    scenario: Given,
    folder: Path | str | None = None,
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    jobs: int | None = None,
    executor: Literal["local", "ray"] = "local",
    address: str = "auto",
    show_progress: bool = False,
) -> SweepResult:
    """Simulates a scenario for every combination of values and every seed of its `sweep` block.

    Args:
        scenario: a file with such a block, or what one would hold.
        folder: keeps the simulated points, so that the same call goes on where it was stopped; None keeps nothing.
        overrides: ``path=value`` each.
        seed: replaces the scenario's.
        jobs: processes, or points that a cluster gets at once; None for all cores. A script that asks for processes
            does so under ``if __name__ == "__main__":``.
        executor: where the points are simulated.
        address: of the Ray cluster.
        show_progress: a bar on stderr, or a line every ten seconds where that is no terminal.

    Raises:
        InputError: the scenario, the folder or the cluster cannot be used.
    """
    from sunsim.sweep.grid import load_grid
    from sunsim.sweep.run import executed, simulated

    run = executed(executor, jobs, address)
    grid = load_grid(scenario, overrides, seed)
    with TemporaryDirectory(prefix="sunsim-") as nowhere:
        return simulated(grid, Path(folder or nowhere), run, show_progress=show_progress)
