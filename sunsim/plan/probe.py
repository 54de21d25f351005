"""One simulation of a plan: one arm, one size, one seed; how many requests of each model miss their SLO."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sunsim.clock import to_s
from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import window_of
from sunsim.metrics.overload import overloaded
from sunsim.metrics.rows import Requests
from sunsim.metrics.serving import meets_slo, per, rated, serving
from sunsim.metrics.worst import worst_window
from sunsim.plan.conditions import AS_PLANNED, Conditions, only, requests_under
from sunsim.plan.portrait import portrait
from sunsim.plan.watch import SureMissError, Watch
from sunsim.points.point import Outcome, attempt, identity, key

if TYPE_CHECKING:
    from sunsim.metrics.rows import Bools, Window
    from sunsim.plan.windows import Stretches
    from sunsim.points.point import Row
    from sunsim.records import ArmResult
    from sunsim.scenario import Scenario

FIGURES = (
    "request_goodput",
    "output_throughput_window",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "p99_tpot_ms",
    "median_interactivity",
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A simulation to be done.

    Attributes:
        scenario: with one arm, sized; its seed, rate and skew are the probe's.
        conditions: how it departs from the file's.
        model: the one whose requests are simulated; None for all.
        allowed: of each model, how many requests may miss; the run ends when more have. None: it runs to its end.
        stretches: the windows that are looked at; None for none.
        look_closer: whether the row is a portrait instead of counts.
        key: a hash of the others.
    """

    scenario: Scenario
    conditions: Conditions = AS_PLANNED
    model: str | None = None
    allowed: tuple[int, ...] | None = None
    stretches: Stretches | None = None
    look_closer: bool = False
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key(self.identity()))

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
        Of each model by name, `requests` of the window and how many `missed`, of these `ttft` and `tpot`, `beyond`, the
        number of windows in which more missed than may, and the `worst` of its windows; ``worst_of_all`` is that of all.
        ``stopped_s`` is when the run was ended early, because of ``broke``, a model's name; None if it was not.
        Then the counts are those so far, and there are no ``figures``.

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
        return _row(names, dict.fromkeys(names, (0, 0, 0, 0, 0)))
    try:
        result = simulate_arm(scenario, arm, own, times_on=probe.conditions.times_on, watch=watch)
    except SureMissError as sure:
        inside = np.bincount(own.model[window.holds(to_s(own.arrival_ps))], minlength=len(own.models))
        counts = {
            name: (int(inside[i]), sure.missed[i], sure.ttft[i], sure.tpot[i], int(i == sure.model))
            for i, name in enumerate(own.models)
            if name in names
        }
        return _row(names, counts) | {"stopped_s": sure.at_s, "broke": own.models[sure.model]}
    if probe.look_closer:
        return portrait(scenario, result, window)
    return _complete(probe, result, window, names)


def _complete(probe: Probe, result: ArmResult, window: Window, names: tuple[str, ...]) -> Row:
    requests = Requests.from_rows(result.rows)
    slo = probe.scenario.slo.limits
    inside = window.holds(requests.arrival_s)
    met, in_time, in_pace = (meets_slo(requests, limits) for limits in (slo, _part(slo, "ttft"), _part(slo, "tpot")))
    of_model = {name: inside & (result.rows["model"] == name).to_numpy(np.bool_) for name in names}
    counts = {
        name: (
            int(own.sum()),
            int((own & ~met).sum()),
            int((own & ~in_time).sum()),
            int((own & ~in_pace).sum()),
            probe.stretches.beyond(requests.arrival_s[own], ~met[own], window) if probe.stretches else 0,
        )
        for name, own in of_model.items()
    }
    window = rated(window, [requests])
    entry = serving(requests, window, slo, 1.0)
    gpus = {stage: sum(w.gpus for w in result.workers if w.role.counted_as == stage) for stage in ("prefill", "decode")}
    growing = [name for name, own in of_model.items() if overloaded(requests.where(own), window)]
    return _row(names, counts) | {
        "worst": {name: _worst(probe.stretches, requests, met, own, window) for name, own in of_model.items()},
        "worst_of_all": _worst(probe.stretches, requests, met, inside, window),
        "overloaded": growing or (["all"] if overloaded(requests, window) else []),
        "figures": {tag: entry[tag] for tag in FIGURES}
        | {
            "output_throughput_per_gpu": per(entry["output_throughput_window"], sum(gpus.values())),
            "output_throughput_per_decode_gpu": per(entry["output_throughput_window"], gpus["decode"]),
        },
    }


def _worst(
    stretches: Stretches | None, requests: Requests, met: Bools, own: Bools, window: Window
) -> dict[str, float | None] | None:
    if stretches is None:
        return None
    found = worst_window(requests.arrival_s[own], met[own], window, stretches.length_s, stretches.fewest)
    return asdict(found)


def _part(slo: dict[str, float], key: str) -> dict[str, float]:
    return {name: limit for name, limit in slo.items() if name.startswith(key)}


def _row(names: tuple[str, ...], counts: dict[str, tuple[int, int, int, int, int]]) -> Row:
    kinds = ("requests", "missed", "ttft", "tpot", "beyond")
    by_kind = {kind: {name: counts[name][i] for name in names} for i, kind in enumerate(kinds)}
    none = {"worst": dict.fromkeys(names), "worst_of_all": None}
    return {**by_kind, **none, "stopped_s": None, "broke": None, "overloaded": [], "figures": None}
