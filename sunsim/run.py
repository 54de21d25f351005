"""The verbs `run` and `check`: from a scenario file to a folder of results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sunsim import __version__
from sunsim.cluster.simulation import ArmResult, simulate
from sunsim.folder import Results
from sunsim.inputs import Inputs
from sunsim.measured import arriving_s, begin_s, refuse_empty, stop_s
from sunsim.metrics import summarize, to_json
from sunsim.report.basis import base_models, basis, unused_popularity
from sunsim.report.files import REQUESTS, SCENARIO, SUMMARY, write_requests
from sunsim.report.format import counted, listed, number
from sunsim.report.summary import summary_report
from sunsim.report.terminal import say
from sunsim.report.trace import left_out, provenance
from sunsim.scenario import Trace, build_requests, checked, read_source, resolved
from sunsim.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sunsim.scenario import Scenario
    from sunsim.workload.requests import Requests


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
    from sunsim.pictures import draw  # noqa: PLC0415 - `check` does not wait for matplotlib

    scenario, requests = prepare(file, overrides, seed)
    out = out or Path("results") / scenario.name
    results = Results(out, "run", (REQUESTS, SUMMARY, SCENARIO))
    inputs = Inputs()
    inputs.sha256(scenario)
    arms = simulate_arms(scenario, requests, show_progress=not quiet)
    summary = summary_of(scenario, arms)
    inputs.refuse_changed()
    with results.writing() as folder:
        write_requests(folder / REQUESTS, arms, summary)
        (folder / SUMMARY).write_text(to_json(summary), encoding="utf-8")
        (folder / SCENARIO).write_text(resolved(scenario), encoding="utf-8")
        draw(folder, arms, summary)
        names = sorted(path.name for path in folder.iterdir())
    if as_json:
        sys.stdout.write(to_json(summary))
    elif not quiet:
        say(summary_report(summary).blocks, place=f"{out}/ ({', '.join(names)})")


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
    missing = left_out(scenario.trace) if scenario.trace else ""
    unused = unused_popularity(scenario)
    return (
        f"ok: {scenario.name}: {counted(len(requests), 'request')} in {number(arriving_s(scenario, requests))} s for "
        f"{models} model{'s' if models > 1 else ''}; GPUs by arm: {listed(arms)}"
        f"{f'; the trace {missing}' if missing else ''}{f'; {unused}' if unused else ''}"
    )


def prepare(file: Path, overrides: Sequence[str], seed: int | None) -> tuple[Scenario, Requests]:
    """A scenario and its requests.

    Raises:
        InputError: something in it is wrong, or the measured window would be empty.
    """
    source = read_source(file, overrides, seed)
    scenario = checked(source).changed(sweep=None, plan=None)
    requests = build_requests(scenario)
    refuse_empty(scenario, requests, source.error)
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
    meta = {
        "sunsim_version": __version__,
        "scenario": scenario.name,
        "seed": scenario.seed,
        "profiles": {name: profile.sha256 for name, profile in scenario.profiles.items()},
        "base_models": base_models(scenario),
        "basis": basis(scenario),
    }
    workload = scenario.workload
    if scenario.trace and isinstance(workload, Trace):
        meta["trace"] = provenance(workload.path, workload.format, scenario.trace)
    return summarize(
        arms,
        slo=scenario.slo.model_dump(),
        warmup_s=scenario.measure.warmup_s,
        meta=meta,
        stop_s=stop_s(scenario),
        begin_s=begin_s(scenario, float(arms[0].rows["arrival_s"].min())),
        model_names=scenario.model_names,
    )


def _advance(bars: Progress, name: str) -> Callable[[float], None]:
    task = bars.add_task(visible(name), total=1.0)
    return lambda share: bars.update(task, completed=share)
