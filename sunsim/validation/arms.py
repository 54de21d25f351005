"""Whole clusters beside their simulation: arms that served the same requests, and what each gains over the first.

An arm was a live cluster, or was put together from the runs of its workers, each replayed on its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pandas as pd

from sunsim.metrics.overload import overloaded
from sunsim.metrics.rows import Bools, Floats, Requests, Window
from sunsim.metrics.serving import Numbers, latency, output_rate, per
from sunsim.metrics.slo import Limits, Slo, meets_slo
from sunsim.report.format import ratio
from sunsim.validation.cluster_run import ClusterRun
from sunsim.validation.figures import Compared, Figure, change_percent
from sunsim.validation.served import NEGLIGIBLE_MS, Served
from sunsim.validation.worker_figures import ROUNDS

DECODE_THROUGHPUT = "output_throughput_per_decode_gpu"
THROUGHPUT = "output_throughput_per_gpu"
ATTAINMENT = "slo_attainment"
CACHED = "cached_share"
STATISTICS = {"tpot": ("mean", "median", "p99"), "queueing": ("mean", "p99"), "ttft": ("mean", "p99")}


@dataclass(frozen=True, slots=True)
class Side:
    """What an arm's requests got, for real or as simulated.

    Attributes:
        requests: all of them.
        latencies_ms: those that figures are of, by the keys of `STATISTICS`.
        met: the share that met every SLO; None where none is stated.
    """

    requests: Requests
    latencies_ms: Mapping[str, Floats]
    met: float | None = None

    @classmethod
    def of_workers(cls, parts: Sequence[Served]) -> "Side":
        """All requests of several workers, by the engines' clocks; TTFT by the client's."""
        served = together(parts)
        return cls(served.requests(), {key: getattr(served, f"{key}_ms") for key in STATISTICS})

    @classmethod
    def of_cluster(cls, requests: Requests, window: Window, limits: Limits) -> "Side":
        """The requests that came inside the window, by the client's clock."""
        within = window.holds(requests.arrival_s)
        inside = requests.where(within)
        met = per(float(meets_slo(requests, limits)[within].sum()), len(inside)) if limits else None
        return cls(requests, {"tpot": inside.tpot_s * 1000, "ttft": inside.ttft_s * 1000}, met)

    def figures(self, window: Window, gpus: Mapping[str, int]) -> Numbers:
        """Output inside the window by GPU as `gpus` counts them, statistics of latencies, and the share that met SLOs."""
        rate = output_rate(self.requests, window)
        found: Numbers = {tag: ratio(rate, number) for tag, number in gpus.items()}
        for key, values_ms in self.latencies_ms.items():
            found |= latency(key, values_ms, STATISTICS[key])
        return found | {ATTAINMENT: self.met}


@dataclass(frozen=True, slots=True)
class ComparedRound:
    """One round of all sessions, or the later ones together.

    Attributes:
        name: of `ROUNDS`.
        requests: how many it has.
        figures: latencies; the share of the prompts' tokens that the worker which computed them had cached, in percent,
            its error in percentage points; and the tokens whose KV was moved for a request.
    """

    name: str
    requests: int
    figures: list[Figure]


@dataclass(frozen=True, slots=True)
class ComparedArm(Compared):
    """One arm.

    Attributes:
        figures: output tokens/s inside the window per GPU, latencies in ms, and the share that met every SLO.
        runs: those that it is made of.
        gpus: how many there are, by the throughput that counts them.
        overloaded: whether its queue still grew when arrivals ended, really or as simulated.
        live: the run of the whole cluster; None where its workers were replayed one by one.
        rounds: of sessions, round by round; none where requests are no rounds.
    """

    runs: tuple[str, ...]
    gpus: Mapping[str, int]
    requests: int
    overloaded: bool
    live: ClusterRun | None = None
    rounds: tuple[ComparedRound, ...] = ()

    @property
    def decode_gpus(self) -> int:
        return self.gpus[DECODE_THROUGHPUT]

    @property
    def actual(self) -> Numbers:
        return {figure.tag: figure.actual for figure in self.figures}

    @property
    def simulated(self) -> Numbers:
        return {figure.tag: figure.simulated for figure in self.figures}

    @property
    def errors(self) -> Numbers:
        """In percent."""
        return {figure.tag: figure.error_percent for figure in self.figures}


@dataclass(frozen=True, slots=True)
class Gain:
    """What an arm does against the first one: `actual` and `simulated` have the same keys.

    `..._ratio` is a ratio, `..._change_percent` a change in percent, `..._change_ms` one in milliseconds: waits are next
    to nothing below saturation, so their ratios would say nothing. Waits of an overloaded arm depend on how long the run
    was, so none is compared.
    """

    arm: str
    base: str
    actual: Numbers
    simulated: Numbers


@dataclass(frozen=True, slots=True)
class Comparison:
    """Arms over one window; the first, isolated one is what the others are compared to."""

    name: str
    window: Window
    arms: list[ComparedArm]
    slo: Slo = field(default_factory=dict)

    @property
    def gains(self) -> list[Gain]:
        """What each arm but the first gains; of live ones those whose decode is shared."""
        return [_gain(arm, self.arms[0]) for arm in self.arms[1:] if not arm.live or arm.live.decode.shared]


def together(parts: Sequence[Served]) -> Served:
    """The requests of several workers, one worker after the other."""
    return Served(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Served)))


def compared_arm(
    name: str,
    runs: Sequence[str],
    sides: tuple[Side, Side],
    window: Window,
    gpus: Mapping[str, int],
    live: ClusterRun | None = None,
) -> ComparedArm:
    """One arm: `sides` are the actual and the simulated one."""
    return ComparedArm(
        name=name,
        figures=arm_figures(sides, window, gpus),
        runs=tuple(runs),
        gpus=gpus,
        requests=len(sides[0].requests),
        overloaded=any(overloaded(side.requests, window) for side in sides),
        live=live,
    )


def arm_figures(sides: tuple[Side, Side], window: Window, gpus: Mapping[str, int]) -> list[Figure]:
    """The figures of both sides that at least one has."""
    actual, simulated = (side.figures(window, gpus) for side in sides)
    return [
        Figure(tag, value, simulated[tag], _error(tag, simulated[tag], value))
        for tag, value in actual.items()
        if tag != ATTAINMENT or value is not None
    ]


def _error(tag: str, simulated: float | None, actual: float | None) -> float | None:
    """None for the share that met SLOs, and for waits: one of microseconds against one of none would be -100 %."""
    if tag == CACHED and simulated is not None and actual is not None:
        return simulated - actual
    negligible = "queueing" in tag and max(simulated or 0.0, actual or 0.0) < NEGLIGIBLE_MS
    return None if tag == ATTAINMENT or negligible else change_percent(simulated, actual)


def _gain(arm: ComparedArm, base: ComparedArm) -> Gain:
    waits = not (arm.overloaded or base.overloaded)
    return Gain(
        arm=arm.name,
        base=base.name,
        actual=_against(arm.actual, base.actual, waits=waits),
        simulated=_against(arm.simulated, base.simulated, waits=waits),
    )


def _against(figures: Numbers, base: Numbers, *, waits: bool) -> Numbers:
    gain: Numbers = {}
    for tag, now in figures.items():
        before, stem = base[tag], tag.removesuffix("_ms")
        if tag in (DECODE_THROUGHPUT, THROUGHPUT):
            gain[f"{tag}_ratio"] = ratio(now, before)
        elif "tpot" in tag:
            gain[f"{stem}_change_percent"] = change_percent(now, before)
        elif tag != ATTAINMENT:
            told = waits and now is not None and before is not None
            gain[f"{stem}_change_ms"] = (now or 0.0) - (before or 0.0) if told else None
    return gain


def compared_rounds(actual: pd.DataFrame, simulated: pd.DataFrame, window: Window) -> tuple[ComparedRound, ...]:
    """Round by round, of the requests that really came inside the window.

    Args:
        actual, simulated: rows of the results contract with the columns of sessions, of the same requests in one order.
    """
    number = np.minimum(actual["round"].to_numpy(np.int64), len(ROUNDS) - 1)
    within = window.holds(actual["arrival_s"].to_numpy(np.float64))
    found = []
    for i, name in enumerate(ROUNDS):
        own = within & (number == i)
        if own.any():
            figures = [
                Figure(tag, real, model, _error(tag, model, real))
                for (tag, real), model in zip(_means(actual, own).items(), _means(simulated, own).values(), strict=True)
            ]
            found.append(ComparedRound(name, int(own.sum()), figures))
    return tuple(found)


def _means(rows: pd.DataFrame, own: Bools) -> Numbers:
    requests = Requests.from_rows(rows).where(own)
    cached, prompts = (rows[name].to_numpy(np.float64)[own] for name in ("cached_tokens", "prompt_tokens"))
    return {
        **latency("ttft", requests.ttft_s * 1000, ("mean",)),
        **latency("tpot", requests.tpot_s * 1000, ("mean",)),
        CACHED: float(cached.sum() / prompts.sum()) * 100,
        "mean_moved_tokens": float(rows["moved_tokens"][own].mean()),
    }
