"""Tables of whole clusters: both sides of every arm, and of what each does against the first."""

from collections.abc import Iterable, Sequence

from sunsim.metrics.serving import Numbers
from sunsim.report.format import ABSENT, count, number, percent, times
from sunsim.report.summary import OVERLOADED, marked
from sunsim.report.text_table import TextTable
from sunsim.validation.arms import ATTAINMENT, DECODE_THROUGHPUT, THROUGHPUT, ComparedArm, Comparison
from sunsim.validation.figures import bare_percent, signed_percent
from sunsim.validation.tables import SHORT

SIDES = ("actual", "simul.")

WORKERS = ("mean_tpot_ms", "median_tpot_ms", "mean_queueing_ms", "p99_queueing_ms", "mean_ttft_ms", "p99_ttft_ms")
"""Latencies of arms that were replayed worker by worker."""

CLUSTER = (THROUGHPUT, "mean_tpot_ms", "p99_tpot_ms", "mean_ttft_ms")
"""Figures of live arms."""

CLUSTER_GAINS = {
    f"{DECODE_THROUGHPUT}_ratio": "tok/s per\ndecode GPU",
    "mean_tpot_change_percent": "TPOT mean\n%",
    "p99_tpot_change_percent": "TPOT p99\n%",
    "mean_ttft_change_ms": "TTFT mean\nms",
}


def worker_arm_tables(comparison: Comparison) -> list[TextTable]:
    """Arms that were replayed worker by worker; then, where there are two or more, what the others do against the first."""
    return [_worker_arms(comparison), _worker_gains(comparison)]


def _worker_arms(comparison: Comparison) -> TextTable:
    window, tags = comparison.window, (DECODE_THROUGHPUT, *WORKERS)
    rows: list[tuple[str, ...]] = []
    for arm in comparison.arms:
        rows += [
            (marked(arm.name, overloaded=arm.overloaded), "actual", count(arm.decode_gpus), *_written(arm.actual)),
            ("", "simulated", "", *_written(arm.simulated)),
            ("", "error, %", "", *(bare_percent(arm.errors[tag]) for tag in tags)),
        ]
    headers = ("arm", "", "decode\nGPUs", *_headers(DECODE_THROUGHPUT, *WORKERS))
    title = (
        f"Whole clusters, worker by worker: {comparison.name}, {count(comparison.arms[0].requests)} requests; output "
        f"from {number(window.start_s)} s to {number(window.end_s)} s, latencies in ms{_legend(comparison.arms)}"
    )
    return TextTable(title, headers, rows, left=2, keys=2)


def _written(figures: Numbers) -> list[str]:
    return [count(figures[DECODE_THROUGHPUT]), *(number(figures[tag]) for tag in WORKERS)]


def _worker_gains(comparison: Comparison) -> TextTable:
    rows = []
    for gain in comparison.gains:
        sides = ((f"{gain.arm} / {gain.base}", "actual", gain.actual), ("", "simulated", gain.simulated))
        for name, side, figures in sides:
            rows.append((name, side, times(figures[f"{DECODE_THROUGHPUT}_ratio"]), *_changes(figures)))
    headers = ("arms", "", *_headers(DECODE_THROUGHPUT, *WORKERS))
    return TextTable("What sharing gains, for real and simulated", headers, rows, left=2, keys=2)


def _changes(figures: Numbers) -> list[str]:
    """TPOT in percent, waits in milliseconds."""
    stems = [tag.removesuffix("_ms") for tag in WORKERS]
    return [
        signed_percent(figures[f"{stem}_change_percent"])
        if "tpot" in stem
        else _change(figures[f"{stem}_change_ms"], " ms")
        for stem in stems
    ]


def cluster_tables(points: Sequence[Comparison]) -> list[TextTable]:
    """Live arms, rounds of sessions and gains, point by point."""
    return [_cluster_arms(points), _cluster_rounds(points), _cluster_gains(points)]


def _cluster_arms(points: Sequence[Comparison]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for point in points:
        rows.append((point.name,))
        for arm in point.arms:
            sides = (arm.actual, arm.simulated)
            met = [percent(side.get(ATTAINMENT), 1).removesuffix(" %") for side in sides]
            cells = [(count if tag == THROUGHPUT else number)(side[tag]) for tag in CLUSTER for side in sides]
            rows.append((f"  {marked(arm.name, overloaded=arm.overloaded)}", count(arm.decode_gpus), *met, *cells))
    title = "Whole clusters, live and simulated; latencies in ms"
    title += _legend([arm for point in points for arm in point.arms])
    return TextTable(title, ("", "decode\nGPUs", *_both(["SLO met"]), *_both(_headers(*CLUSTER))), rows)


def _cluster_rounds(points: Sequence[Comparison]) -> TextTable:
    """Of sessions, an arm's round a row."""
    rows: list[tuple[str, ...]] = []
    for point in points:
        for arm in point.arms:
            if arm.rounds:
                rows.append((f"{point.name}, {arm.name}",))
            for each in arm.rounds:
                cells = [number(side) for figure in each.figures for side in (figure.actual, figure.simulated)]
                rows.append((f"  {each.name.replace('_', ' ')}", count(each.requests), *cells))
    title = (
        "Rounds of sessions, live and simulated: means; cached of the prompts' tokens, and tokens moved for a request"
    )
    return TextTable(title, ("", "requests", *_both(["TTFT\nms", "TPOT\nms", "cached\n%", "moved\ntokens"])), rows)


def _cluster_gains(points: Sequence[Comparison]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for point in points:
        if point.gains:
            rows.append((point.name,))
        for gain in point.gains:
            cells = [_gained(tag, side[tag]) for tag in CLUSTER_GAINS for side in (gain.actual, gain.simulated)]
            rows.append((f"  {gain.arm}", *cells))
    title = "What sharing gains against isolated decode, for real and as simulated"
    return TextTable(title, ("", *_both(CLUSTER_GAINS.values())), rows)


def _headers(*tags: str) -> list[str]:
    return [SHORT[tag] for tag in tags]


def _both(headers: Iterable[str]) -> list[str]:
    """A column of each side."""
    return [f"{header}\n{side}" for header in headers for side in SIDES]


def _gained(tag: str, value: float | None) -> str:
    return times(value) if tag.endswith("_ratio") else _change(value)


def _change(value: float | None, unit: str = "") -> str:
    return ABSENT if value is None else f"{'+' if value >= 0 else '-'}{number(abs(value))}{unit}"


def _legend(arms: Sequence[ComparedArm]) -> str:
    return f" ({OVERLOADED} overloaded)" if any(arm.overloaded for arm in arms) else ""
