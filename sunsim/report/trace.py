"""What of a trace is used and what is left out, in words and as data."""

from pathlib import Path
from typing import Any

from sunsim.report.format import count
from sunsim.workload.traces.select import Selection


def left_out(selection: Selection) -> str:
    """``without 15 of its 100 requests: 10 outside the window, 5 without an output token``; empty if all are used."""
    missing = selection.in_file - len(selection.rows)
    if not missing:
        return ""
    reasons = [f"{count(number)} {reason}" for reason, number in selection.dropped.items()]
    if selection.outside_window:
        reasons.insert(0, f"{count(selection.outside_window)} outside the window")
    return f"without {count(missing)} of its {count(selection.in_file)} requests: {', '.join(reasons)}"


def provenance(path: Path, name: str, selection: Selection) -> dict[str, Any]:
    """Where requests came from, and what happened to the others; `name` is the format's."""
    return {
        "file": path.name,
        "format": name,
        "requests_in_file": selection.in_file,
        "outside_window": selection.outside_window,
        "dropped": dict(selection.dropped),
        "out_of_order": selection.rows.out_of_order,
    }
