"""The verbs `run` and `check`: thin users of `sunsim.simulate`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sunsim.artist import artist
from sunsim.measured import arriving_s, requests_of
from sunsim.metrics import to_json
from sunsim.report.basis import unheld_rounds, unused_popularity
from sunsim.report.drafts_basis import beyond_measured
from sunsim.report.format import counted, listed, number
from sunsim.report.origin import left_out
from sunsim.report.summary import summary_report
from sunsim.report.terminal import say
from sunsim.result import results
from sunsim.scenario import Pool, Scenario, checked, read_source
from sunsim.simulate import result_of
from sunsim.version import tell_of_slow_loop
from sunsim.workload.requests import Requests


def run(
    file: Path, out: Path | None, overrides: Sequence[str], seed: int | None, *, as_json: bool, quiet: bool
) -> None:
    """`sunsim.simulate`, saved in `out` or else in `results/<name>`, and printed."""
    scenario, requests = prepare(file, overrides, seed)
    out = out or Path("results") / scenario.name
    results(out)  # refused before anything is simulated
    tell_of_slow_loop(quiet=quiet)
    with artist(len(requests) * len(scenario.arms)) as beside:
        result = result_of(scenario, requests, None, show_progress=not quiet)
        names = result.save(out, beside)
    if as_json:
        sys.stdout.write(to_json(result.summary))
    elif not quiet:
        say(summary_report(result.summary).blocks, place=f"{out}/ ({', '.join(names)})")


def check(file: Path, overrides: Sequence[str], seed: int | None) -> str:
    """Say in one line what a scenario holds.

    Raises:
        InputError: something in it is wrong.
    """
    scenario, requests = prepare(file, overrides, seed)
    arms = [
        f"{arm.name} ({', '.join(f'{_gpus(pool)} {stage}' for stage, pool in arm.pools().items())})"
        for arm in scenario.arms
    ]
    models = counted(len(scenario.model_names), "model")
    missing = left_out(scenario.trace) if scenario.trace else ""
    notes = [f"the trace {missing}" if missing else "", unused_popularity(scenario), unheld_rounds(requests)]
    notes += beyond_measured(scenario)
    sessions = len(np.unique(requests.sessions.session)) if requests.sessions else len(requests)
    of_sessions = f" of {counted(sessions, 'session')}" if sessions < len(requests) else ""
    at_a_time = requests.concurrency
    arriving = f", {at_a_time} at a time," if at_a_time else f" in {number(arriving_s(scenario, requests))} s"
    what = f"{counted(len(requests), 'request')}{of_sessions}{arriving} for {models}; GPUs by arm: {listed(arms)}"
    return "; ".join([f"ok: {scenario.name}: {what}", *filter(None, notes)])


def _gpus(pool: Pool) -> str:
    """How many a pool has, or may have."""
    if not pool.elastic:
        return str(pool.gpus)
    return f"{sum(pool.bounds(role).min for role in pool.roles) * pool.profile.gpus} to {pool.gpus}"


def prepare(file: Path, overrides: Sequence[str], seed: int | None) -> tuple[Scenario, Requests]:
    """A scenario and its requests.

    Raises:
        InputError: something in it is wrong, or the measured window would be empty.
    """
    source = read_source(file, overrides, seed)
    scenario = checked(source).changed(sweep=None, plan=None)
    return scenario, requests_of(scenario, source.error)
