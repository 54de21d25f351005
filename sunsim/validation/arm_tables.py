"""Tables of isolated against shared: both sides of every arm, and of what each does against the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.report.format import ABSENT, count, number, times
from sunsim.report.text_table import TextTable
from sunsim.validation.arms import LATENCIES, THROUGHPUT
from sunsim.validation.result import signed_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.metrics.serving import Numbers
    from sunsim.validation.arms import Comparison

OVERLOADED = "*"
NAMES = {"tpot": "TPOT", "queueing": "queueing", "ttft": "TTFT"}
KEYS = [(key, f"{stat}_{key}_ms", f"{NAMES[key]}\n{stat}") for key, stats in LATENCIES.items() for stat in stats]


def arm_tables(comparison: Comparison) -> list[TextTable]:
    """The arms; then, where there are two or more, what the others do against the first."""
    tables = [_arms(comparison)]
    if comparison.gains:
        tables.append(_gains(comparison))
    return tables


def _arms(comparison: Comparison) -> TextTable:
    window = comparison.window
    rows: list[tuple[str, ...]] = []
    for arm in comparison.arms:
        name = f"{arm.name}{OVERLOADED if arm.overloaded else ''}"
        sides: Sequence[tuple[str, Numbers]] = (("actual", arm.actual), ("simulated", arm.simulated))
        for side, figures in sides:
            first = (name, count(arm.decode_gpus)) if side == "actual" else ("", "")
            latencies = (number(figures[tag]) for _, tag, _ in KEYS)
            rows.append((first[0], side, first[1], count(figures[THROUGHPUT]), *latencies))
        errors = (_error(arm.error_percent[tag]) for tag in (THROUGHPUT, *(tag for _, tag, _ in KEYS)))
        rows.append(("", "error, %", "", *errors))
    headers = ("arm", "", "decode\nGPUs", "tok/s per\ndecode GPU", *(header for _, _, header in KEYS))
    title = (
        f"Whole clusters, worker by worker: {comparison.campaign}, {count(comparison.arms[0].requests)} requests; output "
        f"from {number(window.start_s)} s to {number(window.end_s)} s, latencies in ms"
    )
    if any(arm.overloaded for arm in comparison.arms):
        title += f" ({OVERLOADED} overloaded)"
    return TextTable(title, headers, rows, left=2, keys=2)


def _gains(comparison: Comparison) -> TextTable:
    rows = []
    for gain in comparison.gains:
        for side, figures in (("actual", gain.actual), ("simulated", gain.simulated)):
            rows.append(
                (
                    f"{gain.arm} / {gain.base}" if side == "actual" else "",
                    side,
                    times(figures[f"{THROUGHPUT}_ratio"]),
                    *(_change(figures, key, tag) for key, tag, _ in KEYS),
                )
            )
    headers = ("arms", "", "tok/s per\ndecode GPU", *(header for _, _, header in KEYS))
    return TextTable("What sharing gains, for real and simulated", headers, rows, left=2, keys=2)


def _change(figures: Numbers, key: str, tag: str) -> str:
    """TPOT in percent, waits in milliseconds."""
    stem = tag.removesuffix("_ms")
    if key == "tpot":
        return signed_percent(figures[f"{stem}_change_percent"])
    change_ms = figures[f"{stem}_change_ms"]
    if change_ms is None:
        return ABSENT
    return f"{'+' if change_ms >= 0 else '-'}{number(abs(change_ms))} ms"


def _error(error: float | None) -> str:
    return signed_percent(error).removesuffix(" %")
