"""The verbs `run` and `check`: from a scenario file to a folder of results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sunsim import __version__
from sunsim.clock import to_s
from sunsim.cluster.simulation import ArmResult, simulate
from sunsim.errors import InputError
from sunsim.latency.profile import find_profile, load_profile
from sunsim.metrics import summarize, to_json
from sunsim.report.basis import basis
from sunsim.report.files import REQUESTS, SCENARIO, SUMMARY, result_folder, write_requests
from sunsim.report.format import count, listed, number
from sunsim.report.terminal import show
from sunsim.report.trace import left_out, provenance
from sunsim.scenario import StopAtTime, Trace, load_scenario, resolved
from sunsim.visible import visible
from sunsim.workload.requests import Requests, build_requests
from sunsim.workload.traces.of_scenario import trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sunsim.latency.profile import Profile
    from sunsim.scenario import Scenario


def run(
    file: Path, out: Path | None, overrides: Sequence[str], seed: int | None, *, as_json: bool, quiet: bool
) -> None:
    """Simulate every arm of a scenario, write the results into a folder and print what they say.

    Args:
        file: the scenario.
        out: the folder; `results/<name>` if None.
        overrides: `path=value` each.
        seed: replaces the scenario's.
        as_json: print the summary as JSON instead of tables.
        quiet: no progress and no tables.

    Raises:
        InputError: the scenario, or the folder, cannot be used.
    """
    from sunsim.report.figures import draw  # noqa: PLC0415 - `check` does not wait for matplotlib

    scenario, requests = prepare(file, overrides, seed)
    out = out or Path("results") / scenario.name
    with result_folder(out) as folder:
        arms = simulate_arms(scenario, requests, show_progress=not quiet)
        summary = summary_of(scenario, arms)
        write_requests(folder / REQUESTS, arms, summary)
        (folder / SUMMARY).write_text(to_json(summary), encoding="utf-8")
        (folder / SCENARIO).write_text(resolved(scenario), encoding="utf-8")
        draw(folder, arms, summary)
        names = sorted(path.name for path in folder.iterdir())
    if as_json:
        sys.stdout.write(to_json(summary))
    elif not quiet:
        show(summary, f"{out}/ ({', '.join(names)})")


def check(file: Path, overrides: Sequence[str], seed: int | None) -> str:
    """Say in one line what a scenario holds.

    Raises:
        InputError: something in it is wrong.
    """
    scenario, requests = prepare(file, overrides, seed)
    arms = [
        f"{arm.name} ({', '.join(f'{pool.gpus} {stage}' for stage, pool in arm.pools().items())})"
        for arm in scenario.arms
    ]
    models = len(scenario.model_names)
    workload = scenario.workload
    missing = left_out(trace_of(scenario, workload)) if isinstance(workload, Trace) else ""
    return (
        f"ok: {scenario.name}: {count(len(requests))} requests in {number(to_s(int(requests.arrival_ps[-1])))} s for "
        f"{models} model{'s' if models > 1 else ''}; GPUs by arm: {listed(arms)}"
        f"{f'; the trace {missing}' if missing else ''}"
    )


def prepare(file: Path, overrides: Sequence[str], seed: int | None) -> tuple[Scenario, Requests]:
    """A scenario and its requests.

    Raises:
        InputError: something in it is wrong, or the measured window would be empty.
    """
    scenario = load_scenario(file, overrides, seed)
    requests = build_requests(scenario)
    end_s = to_s(int(requests.arrival_ps[-1]))
    stop_s = _stop_s(scenario)
    end_s = end_s if stop_s is None else min(end_s, stop_s)
    if scenario.measure.warmup_s >= end_s > 0:
        message = f"measure.warmup_s is {scenario.measure.warmup_s:g}, must be below {end_s:g}, where measuring ends"
        raise InputError(message, file)
    return scenario, requests


def simulate_arms(scenario: Scenario, requests: Requests, *, show_progress: bool) -> list[ArmResult]:
    """Simulate the arms one after the other; progress goes to stderr, and only to a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not (show_progress and console.is_terminal)
    ) as bars:
        return [simulate(scenario, arm, requests, _advance(bars, arm.name)) for arm in scenario.arms]


def summary_of(scenario: Scenario, arms: Sequence[ArmResult]) -> dict[str, Any]:
    """The summary of a scenario's arms, with where it came from."""
    profiles = profiles_of(scenario)
    meta = {
        "sunsim_version": __version__,
        "scenario": scenario.name,
        "seed": scenario.seed,
        "profiles": {name: profile.sha256 for name, profile in profiles.items()},
        "basis": basis(scenario, profiles),
    }
    workload = scenario.workload
    if isinstance(workload, Trace):
        meta["trace"] = provenance(workload.path, workload.format, trace_of(scenario, workload))
    return summarize(
        arms,
        slo=scenario.slo.model_dump(),
        warmup_s=scenario.measure.warmup_s,
        meta=meta,
        stop_s=_stop_s(scenario),
        model_names=scenario.model_names,
    )


def _advance(bars: Progress, name: str) -> Callable[[float], None]:
    task = bars.add_task(visible(name), total=1.0)
    return lambda share: bars.update(task, completed=share)


def _stop_s(scenario: Scenario) -> float | None:
    return scenario.stop.limit_s if isinstance(scenario.stop, StopAtTime) else None


def profiles_of(scenario: Scenario) -> dict[str, Profile]:
    """The profiles of a loaded scenario, by the name that it has for them."""
    names = sorted({pool.profile for arm in scenario.arms for pool in arm.pools().values()})
    return {name: load_profile(find_profile(name, Path())) for name in names}
