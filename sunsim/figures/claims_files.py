"""The claims as `claims.json`, and as a report."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from sunsim.accuracy.measured import AccuracyFile
from sunsim.figures.claims import METRICS, Finding
from sunsim.figures.claims_accuracy import accuracy_findings, accuracy_section
from sunsim.figures.claims_accuracy import entry as accuracy_entry
from sunsim.figures.regions import NAMES, Region, box_text
from sunsim.metrics.registry import REGISTRY
from sunsim.report.blocks import Note, Report, Section
from sunsim.report.format import ABSENT, change
from sunsim.report.text_table import TextTable

INTRO = (
    "Every figure here but those of accuracy is computed from the sweeps behind the figures; claims.json has the same for programs. A setting is "
    "one combination of Zipf alpha, output length and rate. A claim is asked of every setting of the grid, not of one that "
    "suits it. Ratios are each seed's, of the same requests, averaged over the seeds. 'Best' is the setting that comes "
    "nearest to the claim. A box is a range of every factor in which the claim holds in each setting; 'reproduced in this "
    "region' means that the largest one has a quarter of the grid or more, 'depends on' names the factor over which its "
    "share varies most."
)
ELSEWHERE = (
    "SUN against as many isolated decode GPUs at Zipf alpha 3, given equally (isolated) or in proportion to the traffic "
    "(isolated-prop)."
)


def to_json(found: Sequence[Finding], settings: Sequence[str], accuracy: Sequence[AccuracyFile]) -> str:
    """The content of `claims.json`; `settings` says what the grid is, `accuracy` are the shipped files."""
    content = {
        "grid": list(settings),
        "claims": [_entry(finding) for finding in found],
        "accuracy": [accuracy_entry(finding) for finding in accuracy_findings(accuracy)],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _entry(finding: Finding) -> dict[str, Any]:
    region = finding.region
    return {
        "claim": finding.claim,
        "label": finding.label,
        "reading": finding.reading,
        "first_token": finding.first_token,
        "verdict": region.verdict,
        "settings": region.settings,
        "holds_in": region.held,
        "share": _rounded(region.share),
        "share_by": {
            name: {f"{value:g}": _rounded(share) for value, share in shares.items()}
            for name, shares in region.shares.items()
        },
        "largest_box": None if region.box is None else {name: list(ends) for name, ends in region.box.items()},
        "largest_box_settings": region.box_settings,
        "best": {key: _rounded(finding.best[key]) for key in (*NAMES, *METRICS) if key in finding.best},
        "fails": finding.fails,
    }


def _rounded(value: Any) -> float | int:
    number = round(float(value), 4)
    return int(number) if number.is_integer() else number


def claims_report(
    found: Sequence[Finding], settings: Sequence[str], other: pd.DataFrame, accuracy: Sequence[AccuracyFile]
) -> Report:
    """The claims in short; in full, what each was asked of, and the same gains in other sweeps."""
    return Report(
        "The paper's claims against the simulation",
        [
            Note(INTRO),
            Note(f"The grid: {'; '.join(settings)}."),
            _in_short(found),
            accuracy_section(accuracy_findings(accuracy), accuracy),
            Section("Every reading", [_readings(found)], in_full=True),
            *map(_detail, found),
            Section("The same gains in other sweeps", [ELSEWHERE, _elsewhere(other)], in_full=True),
        ],
    )


def _in_short(found: Sequence[Finding]) -> TextTable:
    """A row a reading: in how many settings it holds with either convention, and the verdict.

    Where the conventions differ in their verdict, the one with the first token from prefill is told too.
    """
    other = {finding.label: finding.region for finding in found if finding.first_token == "prefill"}
    rows = []
    for finding in found:
        if finding.first_token == "decode":
            own, prefill = finding.region, other[finding.label]
            verdict = own.verdict
            if prefill.verdict != verdict:
                verdict += f"; first token from prefill: {prefill.verdict}"
            holds = (f"{region.held} of {region.settings}" for region in (own, prefill))
            rows.append((finding.label, *holds, verdict))
    return TextTable("", ("claim, as read", "holds in", "first token\nfrom prefill", "verdict"), rows, left=4)


def _readings(found: Sequence[Finding]) -> TextTable:
    rows = [
        (
            finding.claim,
            finding.reading,
            finding.first_token,
            _share(finding.region),
            best_text(finding.best),
            finding.region.verdict,
        )
        for finding in found
    ]
    return _texts(("claim", "asked of a setting", "first token", "holds in", "best", "verdict"), rows)


def _detail(finding: Finding) -> Section:
    region = finding.region
    shares = [
        (NAMES[name], ", ".join(f"{value:g}: {100 * share:.0f} %" for value, share in of.items()))
        for name, of in region.shares.items()
    ]
    box = "none" if region.box is None else f"{box_text(region.box, region.shares)} ({region.box_settings} settings)"
    return Section(
        f"{finding.label}, first token from {finding.first_token}",
        [
            f"Claim: {finding.claim}. Asked of a setting: {finding.reading}.",
            f"Verdict: {region.verdict}. Holds in {_share(region)}. Largest box: {box}.",
            f"Best: {best_text(finding.best)}.",
            f"Where not: {finding.fails}.",
            _texts(("factor", "share of the settings in which it holds"), shares),
        ],
        in_full=True,
    )


def best_text(best: Mapping[Hashable, Any]) -> str:
    """A setting's measures, and which one it is."""
    if not best:
        return "none"
    told = [f"{REGISTRY[key].header} {best[key]:.2f}x" for key in METRICS if key in best]
    where = [f"{NAMES[key]} {best[key]:g}" for key in NAMES if key in best]
    return f"{', '.join(told)} at {', '.join(where)}"


def _share(region: Region) -> str:
    return f"{region.held} of {region.settings} settings"


def _elsewhere(other: pd.DataFrame) -> TextTable:
    rows = [
        (
            str(row["sweep"]),
            str(row["base"]),
            f"{row['rate_rps']:g}" if row.get("rate_rps") == row.get("rate_rps") else ABSENT,
            *(change(row[tag], 1.0) for tag in ("output_throughput_window", "mean_interactivity")),
        )
        for row in other.to_dict("records")
    ]
    return _texts(("sweep", "isolated", "req/s", "throughput", "interactivity"), rows)


def _texts(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> TextTable:
    return TextTable("", headers, rows, left=len(headers))
