"""One simulation of a plan: one arm, one size, one seed; how many requests of each model miss their SLO."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sunsim.clock import to_s
from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import window_of
from sunsim.metrics.held import Held
from sunsim.metrics.overload import overloaded
from sunsim.metrics.pools import held_figures
from sunsim.metrics.rows import Bools, Requests, Window
from sunsim.metrics.serving import per, rated, serving
from sunsim.metrics.sessions import Rounds, has_sessions, shares
from sunsim.metrics.slo import LIMITS, limits_each, meets_slo, missed
from sunsim.metrics.worst import worst_window
from sunsim.plan.conditions import AS_PLANNED, Conditions, only, requests_under
from sunsim.plan.portrait import portrait
from sunsim.plan.watch import SureMissError, Watch
from sunsim.plan.windows import Stretches
from sunsim.points.outcome import Outcome, Row, attempt
from sunsim.points.point import identity, key
from sunsim.records import ArmResult
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario

FIGURES = (
    "request_goodput",
    "output_throughput_window",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "p99_tpot_ms",
    "median_interactivity",
)

ALL = "all"
"""Stands for all stages where figures are kept by stage."""
KINDS = ("requests", "missed", *LIMITS, "beyond")


@dataclass(frozen=True)
class Probe:
    """A simulation to be done.

    Attributes:
        scenario: with one arm, sized; its seed, rate and skew are the probe's.
        conditions: how it departs from the file's.
        model: the one whose requests are simulated; None for all.
        allowed: of each model, how many requests may miss; the run ends when more have. None: it runs to its end.
        stretches: the windows that are looked at; None for none.
        look_closer: whether the row is a portrait instead of counts.
    """

    scenario: Scenario
    conditions: Conditions = AS_PLANNED
    model: str | None = None
    allowed: tuple[int, ...] | None = None
    stretches: Stretches | None = None
    look_closer: bool = False

    @cached_property
    def key(self) -> str:
        """A hash of all that its row depends on, besides files and code."""
        return key(self.identity())

    def identity(self) -> dict[str, Any]:
        """All that its row depends on, besides files and code."""
        probe = {
            "conditions": asdict(self.conditions),
            "model": self.model,
            "allowed": self.allowed,
            "stretches": self.stretches and asdict(self.stretches),
            "look_closer": self.look_closer,
        }
        return identity(self.scenario) | {"probe": probe}


def outcome_of(probe: Probe) -> Outcome:
    """A probe's row; whatever goes wrong is the outcome's fault."""
    return attempt(lambda: [row_of(probe)])


def row_of(probe: Probe) -> Row:
    """Simulates a probe.

    Returns:
        Of each model by name under ``models``, `requests` of the window and how many `missed`, of these each of `LIMITS`,
        `beyond`, the number of windows in which more missed than may, and the `worst` of its windows; the same of all
        ``together``. ``stopped_s`` is when the run was ended early, because of ``broke``, a model's name; None if it was
        not. Then the counts are those so far, and there are no ``figures``.

    Raises:
        InputError: as `build_requests`.
    """
    scenario = probe.scenario
    (arm,) = scenario.arms
    drawn = requests_under(scenario, probe.conditions)
    # The window is that of all requests, also where one model's are simulated alone.
    window = window_of(scenario, drawn)
    own = drawn if probe.model is None else only(drawn, probe.model)
    stretches = probe.stretches if probe.stretches and probe.stretches.required else None
    watch = None if probe.allowed is None else Watch(own, window, scenario.slo, probe.allowed, stretches)
    names = own.models if probe.model is None else (probe.model,)
    if not len(own):
        return _row({name: _counts() for name in names})
    try:
        result = simulate_arm(scenario, arm, own, times_on=probe.conditions.times_on, watch=watch)
    except SureMissError as sure:
        inside = np.bincount(own.model[window.holds(to_s(own.arrival_ps))], minlength=len(own.models))
        counts = {
            name: _counts(
                requests=int(inside[i]),
                missed=sure.missed[i],
                beyond=int(i == sure.model),
                **{key: late[i] for key, late in sure.late.items()},
            )
            for i, name in enumerate(own.models)
            if name in names
        }
        return _row(counts) | {"stopped_s": sure.at_s, "broke": own.models[sure.model]}
    if probe.look_closer:
        return portrait(scenario, result, window)
    return _complete(probe, result, window, names)


def _complete(probe: Probe, result: ArmResult, window: Window, names: tuple[str, ...]) -> Row:
    requests = Requests.from_rows(result.rows)
    window = rated(window, [requests])
    limits = limits_each(probe.scenario.slo.limits, result.rows["model"])
    late = {"missed": ~meets_slo(requests, limits)} | missed(requests, limits)
    inside = window.holds(requests.arrival_s)
    of_model = {name: inside & (result.rows["model"] == name).to_numpy(np.bool_) for name in names}

    def counted(own: Bools) -> dict[str, Any]:
        counts = _counts(requests=int(own.sum()), **{kind: int((own & which).sum()) for kind, which in late.items()})
        if probe.stretches:
            arrival_s, too_late = requests.arrival_s[own], late["missed"][own]
            worst = worst_window(arrival_s, ~too_late, window, probe.stretches.length_s, probe.stretches.fewest)
            counts |= {"beyond": probe.stretches.beyond(arrival_s, too_late, window), "worst": asdict(worst)}
        return counts

    row = _row({name: counted(own) for name, own in of_model.items()}) | {"together": counted(inside)}
    growing = [name for name, own in of_model.items() if overloaded(requests.where(own), window)]
    row["overloaded"] = growing or (["all"] if overloaded(requests, window) else [])
    (arm,) = probe.scenario.arms
    gpus = {stage: pool.gpus for stage, pool in arm.pools().items()} | {ALL: arm.gpus}
    if result.sizes is not None:
        row["held"] = _held(arm, result.sizes, window)
        gpus = {stage: held["mean_gpus"] for stage, held in row["held"].items()}
    decode_gpus = sum(gpus[stage] for stage in arm.pools() if Stage.DECODE in stage.steps)
    entry = serving(requests, window, limits, 1.0)
    output = entry["output_throughput_window"]
    row["figures"] = {tag: entry[tag] for tag in FIGURES} | {
        "output_throughput_per_gpu": per(output, gpus[ALL]),
        "output_throughput_per_decode_gpu": per(output, decode_gpus),
    }
    if has_sessions(result.rows):
        row["figures"]["cached_share"] = shares(Rounds.from_rows(result.rows).where(inside))["cached_share"]
    return row


def _held(arm: Arm, sizes: pd.DataFrame, window: Window) -> dict[str, dict[str, float]]:
    """GPUs that an arm with elastic pools held inside the window, by stage, and of all."""
    of_stage = {
        str(stage): [
            Held.of_sizes(own, pool.profile.gpus) for _, own in sizes[sizes["stage"] == stage].groupby("model")
        ]
        if pool.elastic
        else [Held.fixed(pool.gpus)]
        for stage, pool in arm.pools().items()
    }
    parts = of_stage | {ALL: [part for own in of_stage.values() for part in own]}
    figures = {stage: held_figures(own, window) for stage, own in parts.items()}
    return {
        stage: {tag: found[tag] for tag in ("mean_gpus", "peak_gpus", "gpu_hours")} for stage, found in figures.items()
    }


def _counts(**counts: int) -> dict[str, Any]:
    """Those of `KINDS` that are known, the others 0."""
    return dict.fromkeys(KINDS, 0) | counts | {"worst": None}


def _row(models: dict[str, dict[str, Any]]) -> Row:
    """Of a run that has not come to its end."""
    together = _counts(**{kind: sum(counts[kind] for counts in models.values()) for kind in KINDS})
    return {"models": models, "together": together, "stopped_s": None, "broke": None, "overloaded": [], "figures": None}
