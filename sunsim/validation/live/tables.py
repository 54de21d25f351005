"""The tables of live clusters, and the sentence that they come down to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sunsim.clock import PS_PER_MS
from sunsim.report.format import ABSENT, count, number, percent, times
from sunsim.report.text_table import TextTable
from sunsim.validation.live.compare import ATTAINMENT, PER_GPU, THROUGHPUT
from sunsim.validation.tables import bare_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sunsim.latency.transfer import LinkTimes, TransferData
    from sunsim.validation.live.compare import LiveArm, LivePoint, LiveRepeat

OVERLOADED = "*"
LAG_MS = 10.0
"""Of the p99: a router that is later than that was held up itself."""

COLUMNS = {
    PER_GPU: "tok/s per\nGPU",
    "mean_tpot_ms": "TPOT\nmean",
    "p99_tpot_ms": "TPOT\np99",
    "mean_ttft_ms": "TTFT\nmean",
}
SIDES = ("actual", "simul.")
GAINS = {
    f"{THROUGHPUT}_ratio": "tok/s per\ndecode GPU",
    "mean_tpot_change_percent": "TPOT mean\n%",
    "p99_tpot_change_percent": "TPOT p99\n%",
    "mean_ttft_change_ms": "TTFT mean\nms",
}


def live_tables(points: Sequence[LivePoint], repeated: Sequence[LiveRepeat]) -> list[TextTable]:
    """Arms, gains and the floor; those that nothing is in are left out."""
    return [table for table in (_arms(points), _gains(points), _floor(repeated)) if table.rows]


def link_table(data: TransferData) -> TextTable:
    """Measured transfers, a point a row."""
    rows = [
        (
            count(point.bytes / 1e6),
            count(point.concurrent),
            number(point.transfer_ms_median),
            number(point.post_ms_median),
            number(point.bytes / 1e6 / point.transfer_ms_median),
        )
        for point in data.transfer_points
    ]
    headers = ("MB", "asked for\nat a time", "until there\nms", "of it the host\nposts, ms", "GB/s")
    return TextTable("The KV link, measured: medians", headers, rows, left=0)


def transfers_text(run: str, transfers: pd.DataFrame, link: LinkTimes) -> str:
    """A run's transfers against what the link's points say of their sizes, were each alone."""
    sizes = transfers["bytes"].tolist()
    posted_ms = float(np.mean([link.posts_ps(size) for size in sizes])) / PS_PER_MS
    moved_ms = float(np.mean([link.latency_ps + link.moves_ps(size) for size in sizes])) / PS_PER_MS
    return (
        f"{run}: {count(len(sizes))} transfers took {number(transfers['transfer_s'].mean() * 1000)} ms in the mean, of "
        f"which the host posted for {number(transfers['post_s'].mean() * 1000)} ms; one at a time, by the points, "
        f"{number(posted_ms + moved_ms)} ms and {number(posted_ms)} ms."
    )


def _arms(points: Sequence[LivePoint]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for point in points:
        rows.append((point.name,))
        rows += [_arm(arm) for arm in point.arms]
    headers = [f"{header}\n{side}" for header in COLUMNS.values() for side in SIDES]
    title = "Whole clusters, live and simulated; latencies in ms"
    if any(arm.overloaded for point in points for arm in point.arms):
        title += f" ({OVERLOADED} overloaded)"
    return TextTable(title, ("", "decode\nGPUs", "SLO met\nactual", "SLO met\nsimul.", *headers), rows)


def _arm(arm: LiveArm) -> tuple[str, ...]:
    cells: list[str] = []
    for tag in COLUMNS:
        written = count if tag == PER_GPU else number
        cells += [written(side[tag]) for side in (arm.actual, arm.simulated)]
    met = [percent(side[ATTAINMENT], 1).removesuffix(" %") for side in (arm.actual, arm.simulated)]
    return (f"  {arm.arm}{OVERLOADED if arm.overloaded else ''}", count(arm.decode_gpus), *met, *cells)


def _gains(points: Sequence[LivePoint]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for point in points:
        if point.gains:
            rows.append((point.name,))
        for gain in point.gains:
            cells = [_gain(tag, side[tag]) for tag in GAINS for side in (gain.actual, gain.simulated)]
            rows.append((f"  {gain.arm}", *cells))
    headers = [f"{title}\n{side}" for title in GAINS.values() for side in SIDES]
    title = "What sharing gains against isolated decode, for real and as simulated"
    return TextTable(title, ("", *headers), rows)


def _gain(tag: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    if tag.endswith("_ratio"):
        return times(value)
    return f"{'+' if value >= 0 else '-'}{number(abs(value))}"


def _floor(repeated: Sequence[LiveRepeat]) -> TextTable:
    rows = [
        (f"{each.second} / {each.first}", *(bare_percent(each.change_percent[tag]) for tag in COLUMNS))
        for each in repeated
    ]
    title = "The floor: runs whose workers had the same to do, against the first, %"
    return TextTable(title, ("", *COLUMNS.values()), rows)


def live_verdict(points: Sequence[LivePoint]) -> str:
    """How far off the arms and the predicted gains are, and how late the routers were."""
    arms = [arm for point in points for arm in point.arms]
    errors = [
        abs(error) for arm in arms if not arm.overloaded and (error := arm.error_percent["mean_tpot_ms"]) is not None
    ]
    texts = ["Every arm is overloaded"]
    if len(errors) == 1:
        texts = [f"Mean TPOT is off by {errors[0]:.2f} %"]
    elif errors:
        off = f"{np.mean(errors):.2f} % in the mean, {max(errors):.2f} % at most"
        texts = [f"Mean TPOT of {len(errors)} arms is off by {off}"]
    key = "mean_tpot_change_percent"
    gains = [
        abs(simulated - actual)
        for point in points
        for gain in point.gains
        if (simulated := gain.simulated[key]) is not None and (actual := gain.actual[key]) is not None
    ]
    if gains:
        texts.append(
            f"its change by sharing by {np.mean(gains):.2f} percentage points in the mean, {max(gains):.2f} at most"
        )
    late = [arm.staleness_ms for arm in arms if arm.staleness_ms]
    if late:
        typical, worst = np.median([each["p50"] for each in late]), max(each["p99"] for each in late)
        texts.append(
            f"the router learned of a request's end {typical:.1f} ms late (median; p99 at most {worst:.1f} ms)"
        )
    lagging = [arm for arm in arms if arm.submit_lag_ms_p99 > LAG_MS]
    if lagging:
        named = ", ".join(f"{arm.run} ({arm.submit_lag_ms_p99:.0f} ms)" for arm in lagging)
        texts.append(f"requests were submitted late in {named}, and are simulated as they were")
    return "; ".join(texts) + "."
