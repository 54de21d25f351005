"""A scenario in, a result out: what `run` does, and whoever asks from Python.

Sweeps and plans need neither a table of requests nor where it all came from; they put the same parts together, which
are in `sunsim.measured` and `sunsim.cluster.simulation`.
"""

# `import sunsim` holds `simulate`, and must not wait for what it needs.
# ruff: noqa: PLC0415

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sunsim.records import ArmResult
    from sunsim.result import Result
    from sunsim.scenario import Scenario
    from sunsim.workload.requests import Requests


def simulate_arm(scenario: Scenario, seed: int | None = None, *, show_progress: bool = False) -> Result:
    """Simulates every arm of a scenario.

    Args:
        scenario: as `sunsim.load` returns it.
        seed: replaces the scenario's.
        show_progress: a bar on stderr, where that is a terminal.

    Raises:
        InputError: there are no requests, one cannot be served, nothing is left to be measured, or a file was changed
            while it was simulated with.
    """
    from sunsim.measured import requests_of

    if seed is not None:
        scenario = scenario.model_copy(update={"seed": seed})
    return result_of(scenario, requests_of(scenario), show_progress=show_progress)


def result_of(scenario: Scenario, requests: Requests, *, show_progress: bool = False) -> Result:
    """`simulate`, for a scenario whose requests are there already.

    Raises:
        InputError: an arm does not finish, or a file was changed meanwhile.
    """
    from sunsim.measured import summary_of, window_of
    from sunsim.result import Result
    from sunsim.scenario import resolved

    arms = simulate_arms(scenario, requests, show_progress=show_progress)
    summary = summary_of(scenario, arms, window_of(scenario, requests), _origin(scenario))
    return Result(
        {arm.name: result.rows for arm, result in zip(scenario.arms, arms, strict=True)}, summary, resolved(scenario)
    )


def simulate_arms(scenario: Scenario, requests: Requests, *, show_progress: bool = False) -> list[ArmResult]:
    """The arms one after the other.

    Raises:
        InputError: one does not finish, or a file was changed while it was simulated with.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from sunsim.cluster.simulation import simulate_arm
    from sunsim.inputs import Inputs
    from sunsim.visible import visible

    inputs = Inputs()
    inputs.sha256(scenario)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    shown = show_progress and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=len(scenario.arms))

        def advance(done: int, name: str, share: float) -> None:
            bar.update(task, completed=done + share, description=visible(name))

        arms = [
            simulate_arm(scenario, arm, requests, partial(advance, done, arm.name))
            for done, arm in enumerate(scenario.arms)
        ]
    inputs.refuse_changed()
    return arms


def _origin(scenario: Scenario) -> dict[str, Any]:
    """Where a summary comes from: versions, hashes, and what was measured, derived and assumed."""
    from sunsim.inputs import profiles_of
    from sunsim.report.basis import base_models, basis
    from sunsim.report.trace import provenance
    from sunsim.version import __version__
    from sunsim.workload.traces.of_scenario import trace_of

    profiles = profiles_of(scenario)
    origin = {
        "sunsim_version": __version__,
        "scenario": scenario.name,
        "seed": scenario.seed,
        "profiles": {name: profile.sha256 for name, profile in profiles.items()},
        "base_models": base_models(scenario, profiles),
        "basis": basis(scenario, profiles),
    }
    workload = scenario.workload
    if workload.kind == "trace":
        origin["trace"] = provenance(workload.path, workload.format, trace_of(scenario, workload))
    return origin
