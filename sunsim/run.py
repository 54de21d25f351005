"""The verbs `run` and `check`: thin users of `sunsim.simulate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sunsim.measured import arriving_s, requests_of
from sunsim.metrics import to_json
from sunsim.report.basis import unused_popularity
from sunsim.report.format import counted, listed, number
from sunsim.report.terminal import show
from sunsim.report.trace import left_out
from sunsim.result import results
from sunsim.scenario import Trace, checked, read_source
from sunsim.simulate import result_of
from sunsim.workload.traces.of_scenario import trace_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    scenario, requests = prepare(file, overrides, seed)
    out = out or Path("results") / scenario.name
    results(out)  # refused before anything is simulated
    result = result_of(scenario, requests, show_progress=not quiet)
    names = result.save(out)
    if as_json:
        sys.stdout.write(to_json(result.summary))
    elif not quiet:
        show(result.summary, f"{out}/ ({', '.join(names)})")


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
    scenario = checked(source).model_copy(update={"sweep": None, "plan": None})
    return scenario, requests_of(scenario, source.error)
