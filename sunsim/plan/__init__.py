"""Plans: the fewest GPUs that meet the SLO, for every arm of a scenario with a `plan` block."""

# `import sunsim` holds `plan`, and must not wait for what it needs.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.plan.result import PlanResult
    from sunsim.scenario.loading import Given


def plan(
    scenario: Given,
    folder: Path | str | None = None,
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    elastic: bool = False,
    jobs: int | None = None,
    show_progress: bool = False,
) -> PlanResult:
    """Finds the fewest GPUs that meet the SLO, for every arm of a scenario with a `plan` block.

    Args:
        scenario: a file with such a block, or what one would hold; or a trace, for which a scenario is made.
        folder: keeps the simulated points, so that the same call goes on where it was stopped; None keeps nothing.
        overrides: ``path=value`` each.
        seed: replaces the scenario's.
        elastic: of a trace: plan for every way once more, with pools that grow and shrink.
        jobs: processes; None for all cores. A script that asks for them does so under ``if __name__ == "__main__":``.
        show_progress: a bar on stderr, or a line every ten seconds where that is no terminal.

    Raises:
        InputError: the scenario or the folder cannot be used.
        SimulationError: a simulation failed.
    """
    from sunsim.plan.run import load, planned

    order = load(scenario, overrides, seed, elastic=elastic)
    with TemporaryDirectory(prefix="sunsim-") as nowhere:
        return planned(order, Path(folder or nowhere), jobs=jobs, show_progress=show_progress)
