"""Isolated against shared for real: the runs of each arm's workers together, and what the simulator makes of the same."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from sunsim.metrics.overload import overloaded
from sunsim.metrics.rows import Window
from sunsim.metrics.serving import Numbers, output_rate, statistics
from sunsim.report.format import ratio
from sunsim.validation.bootstrap import error_percent
from sunsim.validation.served import NEGLIGIBLE_MS, Served

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.validation.campaign import Campaign
    from sunsim.validation.result import Validated

LATENCIES = {"tpot": ("mean", "median"), "queueing": ("mean", "p99"), "ttft": ("mean", "p99")}
"""Statistics of each latency, over all requests of an arm."""

THROUGHPUT = "output_throughput_per_decode_gpu"


@dataclass(frozen=True, slots=True)
class ComparedArm:
    """One arm.

    Attributes:
        decode_gpus: its workers, one GPU each.
        overloaded: whether its queue still grew when arrivals ended, really or as simulated.
        actual, simulated: output tokens/s inside the window per decode GPU, and latencies of all requests, ms.
        error_percent: simulated against actual; None for waits that are next to nothing on both sides.
    """

    name: str
    workers: tuple[str, ...]
    decode_gpus: int
    requests: int
    overloaded: bool
    actual: Numbers
    simulated: Numbers
    error_percent: Numbers


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
    """A campaign's arms over one window, and what each does against the first."""

    campaign: str
    window: Window
    arms: list[ComparedArm]
    gains: list[Gain]


def compare_arms(campaign: Campaign, results: Sequence[Validated]) -> Comparison | None:
    """The campaign's arms; None where it has none.

    Args:
        campaign: says which runs are which arm's workers.
        results: the campaign's runs.

    Raises:
        InputError: arms did not serve the same requests, or one has a worker that does not decode.
    """
    arms = campaign.plan.arms
    if not arms:
        return None
    by_name = {result.run.name: result for result in results}
    parts = {arm: [by_name[worker] for worker in workers] for arm, workers in arms.items()}
    _check(campaign, parts)
    last_s = max(part.run.served.submissions.end_s for results in parts.values() for part in results)
    window = Window(campaign.plan.warmup_s, last_s)
    if not window.length_s:
        raise campaign.error(("warmup_s",), f"warmup_s is {window.start_s:g}, must be before the last arrival")
    compared = [_arm(arm, results, window) for arm, results in parts.items()]
    return Comparison(campaign.name, window, compared, [_gain(arm, compared[0]) for arm in compared[1:]])


def together(parts: Sequence[Served]) -> Served:
    """The requests of several workers, one worker after the other."""
    return Served(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Served)))


def _check(campaign: Campaign, parts: Mapping[str, Sequence[Validated]]) -> None:
    base: tuple[str, list[str]] | None = None
    for arm, results in parts.items():
        for result in results:
            if result.run.meta.role == "prefill":
                message = f"arms.{arm}: {result.run.name} is a prefill run, must be a decode worker's"
                raise campaign.error(("arms", arm), message)
        served = sorted(request for result in results for request in result.run.request_ids)
        base = base or (arm, served)
        if served != base[1]:
            message = (
                f"arms.{arm} served {len(served)} requests, which are not the {len(base[1])} of {base[0]}: every arm "
                "must serve the same ones"
            )
            raise campaign.error(("arms", arm), message)


def _arm(name: str, results: Sequence[Validated], window: Window) -> ComparedArm:
    sides = (
        together([result.run.served for result in results]),
        together([result.replayed.served for result in results]),
    )
    actual, simulated = (_figures(side, window, len(results)) for side in sides)
    return ComparedArm(
        name=name,
        workers=tuple(result.run.name for result in results),
        decode_gpus=len(results),
        requests=len(sides[0]),
        overloaded=any(overloaded(side.requests(), window) for side in sides),
        actual=actual,
        simulated=simulated,
        error_percent={key: _side_error(key, simulated[key], actual[key]) for key in actual},
    )


def _figures(served: Served, window: Window, gpus: int) -> Numbers:
    figures: Numbers = {THROUGHPUT: ratio(output_rate(served.requests(), window), gpus)}
    for key, names in LATENCIES.items():
        found = statistics(getattr(served, f"{key}_ms"), names)
        figures |= {f"{name}_{key}_ms": value for name, value in found.items()}
    return figures


def _gain(arm: ComparedArm, base: ComparedArm) -> Gain:
    waits = not (arm.overloaded or base.overloaded)
    return Gain(
        arm=arm.name,
        base=base.name,
        actual=_against(arm.actual, base.actual, waits=waits),
        simulated=_against(arm.simulated, base.simulated, waits=waits),
    )


def _against(figures: Numbers, base: Numbers, *, waits: bool) -> Numbers:
    gain: Numbers = {f"{THROUGHPUT}_ratio": ratio(figures[THROUGHPUT], base[THROUGHPUT])}
    for name in LATENCIES["tpot"]:
        gain[f"{name}_tpot_change_percent"] = _error(figures[f"{name}_tpot_ms"], base[f"{name}_tpot_ms"])
    for key in ("queueing", "ttft"):
        for name in LATENCIES[key]:
            now, before = figures[f"{name}_{key}_ms"], base[f"{name}_{key}_ms"]
            change_ms = None if now is None or before is None else now - before
            gain[f"{name}_{key}_change_ms"] = change_ms if waits else None
    return gain


def _side_error(key: str, simulated: float | None, actual: float | None) -> float | None:
    """Of a figure; a wait of microseconds against one of none would be -100 %."""
    if "queueing" in key and max(simulated or 0.0, actual or 0.0) < NEGLIGIBLE_MS:
        return None
    return _error(simulated, actual)


def _error(value: float | None, base: float | None) -> float | None:
    if value is None or base is None:
        return None
    error = float(error_percent(value, base))
    return None if np.isnan(error) else error
