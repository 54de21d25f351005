"""The report of a run: its summary in tables and sentences."""

from collections.abc import Mapping
from typing import Any

from sunsim.report.blocks import Bullets, Report
from sunsim.report.format import counted, limits, number
from sunsim.report.sentences import sentences
from sunsim.report.table import tables


def summary_report(summary: Mapping[str, Any]) -> Report:
    """What was simulated, the tables of its arms, and what they mean."""
    window = summary["window"]
    requests = next(iter(summary["arms"].values()))["requests"]
    slo = limits(summary["slo"] or {})
    heading = (
        f"{summary['scenario']}: {counted(requests, 'request')}, measured from {number(window['start_s'])} s to "
        f"{number(window['end_s'])} s; {f'SLO {slo}' if slo else 'no SLO'}"
        f"{'; ratios are to the first arm' if len(summary['arms']) > 1 else ''}"
    )
    return Report(summary["scenario"], [heading, *tables(summary), Bullets(sentences(summary))])
