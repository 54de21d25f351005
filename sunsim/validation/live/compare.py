"""Each live arm against its simulation, and what sharing gains: for real, and as predicted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from sunsim.clock import to_ps
from sunsim.cluster.simulation import simulate_arm
from sunsim.errors import InputError
from sunsim.latency.profile import load_profile
from sunsim.metrics.overload import overloaded
from sunsim.metrics.rows import Requests, Window
from sunsim.metrics.serving import Numbers, meets_slo, output_rate, per, statistics
from sunsim.report.format import ratio
from sunsim.scenario.blocks import Transfer
from sunsim.validation.bootstrap import error_percent
from sunsim.workload.requests import Requests as Stream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from sunsim.scenario import Arm, Scenario
    from sunsim.scenario.blocks import ArmBlock
    from sunsim.validation.live.folder import LiveFolder, LiveRun

THROUGHPUT = "output_throughput_per_decode_gpu"
PER_GPU = "output_throughput_per_gpu"
LATENCIES = {"tpot": ("mean", "median", "p99"), "ttft": ("mean", "p99")}
ATTAINMENT = "slo_attainment"


@dataclass(frozen=True, slots=True)
class LiveArm:
    """One run and its simulation.

    Attributes:
        decode_gpus, gpus: workers of the decode stage, and of both.
        overloaded: whether its queue still grew when arrivals ended, really or as simulated.
        actual, simulated: output tokens/s inside the window per decode GPU and per GPU; latencies by the client's clock
            of the requests that came inside it, ms; the share of them that met every SLO.
        error_percent: simulated against actual.
        staleness_ms: from a request's end until the router knew of it.
        submit_lag_ms_p99: how much later than planned requests were submitted.
    """

    run: str
    arm: str
    router: str
    decode_gpus: int
    gpus: int
    requests: int
    overloaded: bool
    actual: Numbers
    simulated: Numbers
    error_percent: Numbers
    staleness_ms: dict[str, float]
    submit_lag_ms_p99: float


@dataclass(frozen=True, slots=True)
class LiveGain:
    """What an arm does against the first of its point.

    Attributes:
        actual, simulated: a ratio of throughput, changes of TPOT in percent and of TTFT in milliseconds; none of what
            depends on the run's length where one of the two is overloaded.
    """

    arm: str
    base: str
    actual: Numbers
    simulated: Numbers


@dataclass(frozen=True, slots=True)
class LivePoint:
    """Arms that served the same requests; the first, isolated one is what the others are compared to."""

    name: str
    window: Window
    slo: dict[str, float]
    arms: list[LiveArm]
    gains: list[LiveGain]


@dataclass(frozen=True, slots=True)
class LiveRepeat:
    """A run whose workers had the same to do as in an earlier one, against that, in percent."""

    first: str
    second: str
    change_percent: Numbers


def compare_folder(folder: LiveFolder) -> list[LivePoint]:
    """Simulates every run of the folder with its profile.

    Raises:
        InputError: a run and the profile do not match.
    """
    return [_point(folder, name, list(runs)) for name, runs in groupby(folder.runs, key=lambda run: run.point)]


def _point(folder: LiveFolder, name: str, runs: Sequence[LiveRun]) -> LivePoint:
    scenario = runs[0].scenario
    last_s = max(float(run.rows["arrival_s"].max()) for run in runs)
    window = Window(scenario.measure.warmup_s, last_s)
    slo = scenario.slo.limits
    first = [run for run in runs if not run.again]
    arms = [_arm(run, simulated_rows(run, folder.profile, folder.link), window, slo) for run in first]
    return LivePoint(name, window, slo, arms, [_gain(arm, arms[0]) for arm in arms[1:]])


def repeats(folder: LiveFolder) -> list[LiveRepeat]:
    """Every run that repeats an earlier one: the floor, below which no simulation can be judged."""
    first: dict[str, LiveRun] = {}
    found = []
    for run in folder.runs:
        earlier = first.setdefault(run.same, run)
        if earlier is not run:
            window = Window(run.scenario.measure.warmup_s, float(run.rows["planned_s"].max()))
            before, after = (_figures(each.rows, each.arm, window, {}) for each in (earlier, run))
            found.append(LiveRepeat(earlier.name, run.name, _errors(after, before)))
    return found


def simulated_rows(run: LiveRun, profile: Path, link: Path | None = None) -> pd.DataFrame:
    """The run's arm, simulated with this profile and the run's KV blocks, its requests as they were submitted.

    Args:
        link: measured transfers; None takes the run's scenario's link.

    Raises:
        InputError: the profile is of another card, model or variant.
    """
    known = load_profile(profile)
    meta = run.meta
    sides = {
        "card": (meta.card, known.data.card),
        "model": (meta.model, known.data.model),
        "variant": (meta.variant, known.data.variant),
    }
    for what, (ran, measured) in sides.items():
        if ran != measured:
            message = (
                f"ran on {what} {ran}, but profile {known.name} was measured on {measured}: must be the same {what}"
            )
            raise InputError(message, run.path)
    arm = _with_profile(run.arm.block, profile, meta.num_gpu_blocks)
    transfer = Transfer(measured=str(link.resolve())) if link else run.scenario.transfer
    scenario = run.scenario.changed(arms=(arm,), transfer=transfer)
    return simulate_arm(scenario, scenario.arms[0], _stream(run, scenario)).rows


def _with_profile(arm: ArmBlock, profile: Path, num_gpu_blocks: int) -> ArmBlock:
    update = {"profile": str(profile.resolve()), "num_gpu_blocks": num_gpu_blocks}
    return arm.model_copy(update={str(stage): pool.model_copy(update=update) for stage, pool in arm.pools().items()})


def _stream(run: LiveRun, scenario: Scenario) -> Stream:
    rows = run.rows.sort_values("arrival_s", kind="stable")
    index = {name: i for i, name in enumerate(scenario.model_names)}
    return Stream(
        to_ps(rows["arrival_s"].to_numpy(np.float64)),
        np.array([index[name] for name in rows["model"]], dtype=np.int32),
        rows["prompt_tokens"].to_numpy(np.int32),
        rows["output_tokens"].to_numpy(np.int32),
        scenario.model_names,
    )


def _arm(run: LiveRun, simulated: pd.DataFrame, window: Window, slo: dict[str, float]) -> LiveArm:
    arm = run.arm
    assert arm.decode
    actual_figures, simulated_figures = (_figures(rows, arm, window, slo) for rows in (run.rows, simulated))
    return LiveArm(
        run=run.name,
        arm=run.meta.arm,
        router=arm.decode.router,
        decode_gpus=arm.decode.gpus,
        gpus=arm.gpus,
        requests=len(run.rows),
        overloaded=any(overloaded(Requests.from_rows(rows), window) for rows in (run.rows, simulated)),
        actual=actual_figures,
        simulated=simulated_figures,
        error_percent=_errors(simulated_figures, actual_figures),
        staleness_ms=run.meta.staleness_ms,
        submit_lag_ms_p99=run.meta.submit_lag_ms_p99,
    )


def _figures(rows: pd.DataFrame, arm: Arm, window: Window, slo: dict[str, float]) -> Numbers:
    requests = Requests.from_rows(rows)
    rate = output_rate(requests, window)
    inside = requests.where(window.holds(requests.arrival_s))
    figures: Numbers = {
        THROUGHPUT: ratio(rate, arm.decode.gpus if arm.decode else None),
        PER_GPU: ratio(rate, arm.gpus),
    }
    for key, names in LATENCIES.items():
        found = statistics(getattr(inside, f"{key}_s") * 1000, names)
        figures |= {f"{name}_{key}_ms": value for name, value in found.items()}
    figures[ATTAINMENT] = per(float(meets_slo(inside, slo).sum()), len(inside)) if slo else None
    return figures


def _errors(simulated: Numbers, actual: Numbers) -> Numbers:
    return {key: _change(simulated[key], actual[key]) for key in actual if key != ATTAINMENT}


def _gain(arm: LiveArm, base: LiveArm) -> LiveGain:
    waits = not (arm.overloaded or base.overloaded)
    return LiveGain(
        arm.arm,
        base.arm,
        _against(arm.actual, base.actual, waits=waits),
        _against(arm.simulated, base.simulated, waits=waits),
    )


def _against(figures: Numbers, base: Numbers, *, waits: bool) -> Numbers:
    gain: Numbers = {f"{key}_ratio": ratio(figures[key], base[key]) for key in (THROUGHPUT, PER_GPU)}
    for name in LATENCIES["tpot"]:
        gain[f"{name}_tpot_change_percent"] = _change(figures[f"{name}_tpot_ms"], base[f"{name}_tpot_ms"])
    for name in LATENCIES["ttft"]:
        now, before = figures[f"{name}_ttft_ms"], base[f"{name}_ttft_ms"]
        gain[f"{name}_ttft_change_ms"] = now - before if waits and now is not None and before is not None else None
    return gain


def _change(value: float | None, base: float | None) -> float | None:
    if value is None or base is None:
        return None
    error = float(error_percent(value, base))
    return None if np.isnan(error) else error
