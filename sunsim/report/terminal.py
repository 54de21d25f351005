"""A summary on a console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from sunsim.report.blocks import bullets, say
from sunsim.report.format import counted, number
from sunsim.report.sentences import sentences
from sunsim.report.table import tables

if TYPE_CHECKING:
    from collections.abc import Mapping


def show(summary: Mapping[str, Any], place: str | None = None, file: TextIO | None = None) -> None:
    """Print heading, tables and sentences, to stdout unless told otherwise."""
    window = summary["window"]
    requests = next(iter(summary["arms"].values()))["requests"]
    slo = ", ".join(
        f"{key.removesuffix('_ms').upper()} {number(limit)} ms" for key, limit in (summary["slo"] or {}).items()
    )
    heading = (
        f"{summary['scenario']}: {counted(requests, 'request')}, measured from {number(window['start_s'])} s to "
        f"{number(window['end_s'])} s; {f'SLO {slo}' if slo else 'no SLO'}"
        f"{'; ratios are to the first arm' if len(summary['arms']) > 1 else ''}"
    )
    files = [f"Files: {place}"] if place else []
    say([heading, *tables(summary), bullets(sentences(summary)) + files], file)
