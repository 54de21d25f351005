"""A scenario in, a result out: what `run` does, and whoever asks from Python.

Sweeps and plans need neither a table of requests nor where it all came from; they put the same parts together, which
are in `sunsim.measured` and `sunsim.cluster.simulation`.
"""

# `import sunsim` holds `simulate`, and must not wait for what it needs.
# ruff: noqa: PLC0415

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

from sunsim.errors import InputError

if TYPE_CHECKING:
    from sunsim.result import Result
    from sunsim.scenario import Scenario
    from sunsim.workload.requests import Requests


def simulate(
    scenario: Scenario, seed: int | None = None, *, jobs: int | None = 1, show_progress: bool = False
) -> Result:
    """Simulates every arm of a scenario.

    Args:
        scenario: as `sunsim.load` returns it.
        seed: replaces the scenario's.
        jobs: processes for the arms of a long run, None for as many as cores; a script that asks for more than one does
            so under ``if __name__ == "__main__":``.
        show_progress: a bar on stderr, where that is a terminal.

    Raises:
        InputError: `scenario` or `seed` is none, there are no requests, one cannot be served, nothing is left to be measured, or a file was changed
            while it was simulated with.
    """
    from sunsim.measured import requests_of
    from sunsim.scenario import Scenario

    given: object = scenario
    if not isinstance(given, Scenario):
        message = f"is of type {type(given).__name__}, must be what sunsim.load returns"
        raise InputError(message, "scenario")
    if seed is not None:
        scenario = scenario.changed(seed=_checked(seed))
    return result_of(scenario, requests_of(scenario), jobs, show_progress=show_progress)


def _checked(seed: object) -> int:
    from sunsim.document.block import MAX_SEED

    if isinstance(seed, bool) or not isinstance(seed, SupportsIndex) or not 0 <= index(seed) <= MAX_SEED:
        message = f"is {seed!r}, must be a whole number from 0 to {MAX_SEED}"
        raise InputError(message, "seed")
    return index(seed)


def result_of(scenario: Scenario, requests: Requests, jobs: int | None = 1, *, show_progress: bool = False) -> Result:
    """`simulate`, for a scenario whose requests are there already.

    Raises:
        InputError: an arm does not finish, or a file was changed meanwhile.
    """
    from sunsim.arms import simulate_arms
    from sunsim.measured import summary_of, window_of
    from sunsim.report.accuracy import accuracy_entry
    from sunsim.result import Result
    from sunsim.scenario import resolved

    arms = simulate_arms(scenario, requests, jobs, show_progress=show_progress)
    summary = summary_of(scenario, arms, window_of(scenario, requests, arms), _origin(scenario, requests))
    if "accuracy" in summary:
        for arm in scenario.arms:
            summary["arms"][arm.name]["accuracy"] = accuracy_entry(arm)
    found = {arm.name: result for arm, result in zip(scenario.arms, arms, strict=True)}
    rows = {name: result.rows for name, result in found.items()}
    sizes = {name: result.sizes for name, result in found.items() if result.sizes is not None}
    return Result(rows, summary, resolved(scenario), sizes)


def _origin(scenario: Scenario, requests: Requests) -> dict[str, Any]:
    """Where a summary comes from: versions, hashes, and what was measured, derived and assumed."""
    from sunsim.report.accuracy import accuracy_files
    from sunsim.report.basis import base_models, basis
    from sunsim.report.origin import provenance
    from sunsim.version import __version__

    origin = {
        "sunsim_version": __version__,
        "scenario": scenario.name,
        "seed": scenario.seed,
        "profiles": {name: profile.sha256 for name, profile in scenario.profiles.items()},
        "base_models": base_models(scenario),
        "basis": basis(scenario, requests),
    }
    if accuracy := accuracy_files(scenario.arms):
        origin["accuracy"] = accuracy
    if scenario.trace and scenario.workload.kind == "trace":
        origin["trace"] = provenance(scenario.workload.path, scenario.workload.format, scenario.trace)
    return origin
