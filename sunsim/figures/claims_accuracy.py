"""The paper's claims of accuracy, against the shipped accuracy files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sunsim.accuracy.measured import MIN_SEEDS, AccuracyFile, accuracy_named, list_accuracy
from sunsim.accuracy.verdict import CLAIMS, LIMIT, Claim, Loss, cells, learned, losses, together, verdict
from sunsim.report.accuracy import file_entry, measured_on
from sunsim.report.blocks import Block, Section
from sunsim.report.format import ABSENT
from sunsim.report.text_table import TextTable

NOT_MEASURED = "not measured"
NOTE = (
    "Accuracy: points of exact match that full fine-tuning has more, with the 95 % interval of the mean over tasks; fewer than "
    f"{MIN_SEEDS} seeds have no interval and decide nothing. Up to {LIMIT:g} points count as comparable. Measured on small models and synthetic tasks, not on the paper's models or on yours."
)


@dataclass(frozen=True, slots=True)
class AccuracyFinding:
    """One claim of the paper against one accuracy file.

    Attributes:
        model: that was tuned; empty where nothing is shipped.
        measured: the rest of what it was measured on.
        lost: points against full tuning, the mean over the tasks that full tuning learned; None where that is not known.
        by_task: the same of each of these tasks.
        verdict: see `sunsim.accuracy.verdict`.
    """

    claim: str
    method: str
    model: str
    measured: str
    lost: Loss | None
    by_task: dict[str, Loss]
    verdict: str


def shipped() -> list[AccuracyFile]:
    """The shipped accuracy files, the smallest model first."""
    return sorted(map(accuracy_named, list_accuracy()), key=lambda file: file.data.parameters)


def accuracy_findings(files: Iterable[AccuracyFile]) -> list[AccuracyFinding]:
    """Every claim against every file; without any each claim is not measured."""
    claims = [claim for claim in CLAIMS if claim.paper]
    found = [_finding(claim, file) for file in files for claim in claims]
    return found or [AccuracyFinding(c.paper, c.method, "", "", None, {}, NOT_MEASURED) for c in claims]


def _finding(claim: Claim, file: AccuracyFile) -> AccuracyFinding:
    data, measured = file.data, measured_on(file_entry(file), file.data.tasks)
    if not _compares(file, {"base", "full", claim.method, claim.against}):
        return AccuracyFinding(claim.paper, claim.method, data.model, measured, None, {}, NOT_MEASURED)
    document = data.model_dump()
    tasks = learned(document)
    lost = together(document, claim, tasks) if tasks else None
    return AccuracyFinding(
        claim.paper, claim.method, data.model, measured, lost, losses(document, claim, tasks), verdict(document, claim)
    )


def _compares(file: AccuracyFile, methods: set[str]) -> bool:
    """Whether a file has these methods on all its tasks, seed by seed."""
    rows = {(row.method, row.task) for row in file.data.rows if row.exact_match_by_seed}
    return all((method, task) in rows for method in methods for task in file.data.tasks)


def entry(finding: AccuracyFinding) -> dict[str, Any]:
    """For JSON."""
    return {
        "claim": finding.claim,
        "method": finding.method,
        "model": finding.model or None,
        "measured": finding.measured or None,
        "verdict": finding.verdict,
        "points_lost": _plain(finding.lost),
        "points_lost_by_task": {task: _plain(lost) for task, lost in finding.by_task.items()},
    }


def _plain(lost: Loss | None) -> dict[str, float | None] | None:
    """Without an interval where there are too few seeds."""
    if lost is None or not lost.seeds:
        return None
    known = lost.half < float("inf")
    return {"mean": round(lost.mean, 4), "half_width_95": round(lost.half, 4) if known else None}


def accuracy_section(found: Sequence[AccuracyFinding], files: Iterable[AccuracyFile]) -> Section:
    """The claims in short; in full, everything that each file compares."""
    rows = [
        (each.claim, each.model or "no accuracy file is shipped", str(each.lost or ABSENT), each.verdict)
        for each in found
    ]
    table = TextTable("", ("claim", "measured on", "points lost", "verdict"), rows, left=4)
    return Section("Accuracy", [NOTE, table, *map(_detail, files)])


def _detail(file: AccuracyFile) -> Block | None:
    data = file.data
    if not _compares(file, {"base", *(method for claim in CLAIMS for method in (claim.method, claim.against))}):
        return None
    heads, *rows = cells(data.model_dump())
    return Section(
        data.model,
        [f"{measured_on(file_entry(file), data.tasks)}.", TextTable("", heads, rows, left=len(heads))],
        in_full=True,
    )
