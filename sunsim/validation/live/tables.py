"""The tables of live clusters, and the sentence that they come down to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sunsim.report.format import ABSENT, count, number, percent, times
from sunsim.report.text_table import TextTable
from sunsim.validation.live.compare import ATTAINMENT, PER_GPU, THROUGHPUT
from sunsim.validation.result import signed_percent
from sunsim.validation.tables import bare_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sunsim.metrics.serving import Numbers
    from sunsim.validation.live.compare import LiveArm, LivePoint

OVERLOADED = "*"
COLUMNS = {
    PER_GPU: "tok/s\nper GPU",
    "mean_tpot_ms": "TPOT\nmean",
    "p99_tpot_ms": "TPOT\np99",
    "mean_ttft_ms": "TTFT\nmean",
    "p99_ttft_ms": "TTFT\np99",
}


def live_tables(points: Sequence[LivePoint]) -> list[TextTable]:
    """Arms, gains and the floor; those that nothing is in are left out."""
    return [table for table in (_arms(points), _gains(points), _floor(points)) if table.rows]


def _arms(points: Sequence[LivePoint]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for point in points:
        rows.append((point.name, *[""] * (len(COLUMNS) * 2 + 2)))
        rows += [_arm(arm) for arm in point.arms]
    headers: list[str] = []
    for header in COLUMNS.values():
        headers += [header, "error\n%"]
    title = "Whole clusters, live: actual, and by how much the simulation is off; latencies in ms"
    if any(arm.overloaded for point in points for arm in point.arms):
        title += f" ({OVERLOADED} overloaded)"
    return TextTable(title, ("", "decode\nGPUs", "SLO met", *headers), rows)


def _arm(arm: LiveArm) -> tuple[str, ...]:
    cells: list[str] = []
    for tag in COLUMNS:
        written = count if tag == PER_GPU else number
        cells += [written(arm.actual[tag]), bare_percent(arm.error_percent[tag])]
    met = percent(arm.actual[ATTAINMENT], 1)
    return (f"  {arm.arm}{OVERLOADED if arm.overloaded else ''}", count(arm.decode_gpus), met, *cells)


def _gains(points: Sequence[LivePoint]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for point in points:
        if point.gains:
            rows.append((f"{point.name}, against {point.arms[0].arm}", *[""] * 7))
        for gain in point.gains:
            actual, simulated = gain.actual, gain.simulated
            tpot = [_pair(actual, simulated, f"{name}_tpot_change_percent", signed_percent) for name in ("mean", "p99")]
            rows.append(
                (
                    f"  {gain.arm}",
                    *_pair(actual, simulated, f"{THROUGHPUT}_ratio", times),
                    *tpot[0],
                    *tpot[1],
                    *_pair(actual, simulated, "mean_ttft_change_ms", _milliseconds),
                )
            )
    titles = ("tok/s per\ndecode GPU", "TPOT mean", "TPOT p99", "TTFT mean")
    headers = [f"{title}\n{side}" for title in titles for side in ("actual", "simul.")]
    return TextTable("What sharing gains, for real and as simulated", ("", *headers), rows)


def _pair(actual: Numbers, simulated: Numbers, key: str, written: Callable[[float | None], str]) -> tuple[str, str]:
    return written(actual[key]), written(simulated[key])


def _milliseconds(change: float | None) -> str:
    if change is None:
        return ABSENT
    return f"{'+' if change >= 0 else '-'}{number(abs(change))} ms"


def _floor(points: Sequence[LivePoint]) -> TextTable:
    rows = [
        (f"{point.name}, {arm}", *(bare_percent(changes[tag]) for tag in COLUMNS))
        for point in points
        for arm, changes in point.again.items()
    ]
    return TextTable("The floor: a run again, against the first, %", ("", *COLUMNS.values()), rows)


def live_verdict(points: Sequence[LivePoint]) -> str:
    """How far off the predicted gain is, and the arms."""
    key = "mean_tpot_change_percent"
    gains = [
        abs(simulated - actual)
        for point in points
        for gain in point.gains
        if (simulated := gain.simulated[key]) is not None and (actual := gain.actual[key]) is not None
    ]
    errors = [
        abs(error)
        for point in points
        for arm in point.arms
        if not arm.overloaded and (error := arm.error_percent["mean_tpot_ms"]) is not None
    ]
    parts = [
        f"Mean TPOT of {len(errors)} arms is off by {np.mean(errors):.2f} % in the mean, {max(errors):.2f} % at most"
    ]
    if gains:
        parts.append(
            f"its change by sharing by {np.mean(gains):.2f} percentage points in the mean, {max(gains):.2f} at most"
        )
    return "; ".join(parts) + "."
