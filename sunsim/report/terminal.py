"""A summary on a console."""

from __future__ import annotations

import sys
from textwrap import fill
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.text import Text

from sunsim.report.format import count, number
from sunsim.report.sentences import sentences
from sunsim.report.table import WIDTH, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_WIDTH = 110


def console(file: TextIO | None = None) -> Console:
    """A console on stdout or a file; where that is no terminal it is 120 columns wide."""
    file = file or sys.stdout
    made = Console(file=file, highlight=False, width=None if file.isatty() else WIDTH)
    made.width = max(made.width, MIN_WIDTH)
    return made


def show(summary: Mapping[str, Any], place: str | None = None, file: TextIO | None = None) -> None:
    """Print heading, tables and sentences, to stdout unless told otherwise."""
    target = console(file)
    window = summary["window"]
    requests = next(iter(summary["arms"].values()))["requests"]
    slo = ", ".join(
        f"{key.removesuffix('_ms').upper()} {number(limit)} ms" for key, limit in (summary["slo"] or {}).items()
    )
    target.print(
        Text(
            f"{summary['scenario']}: {count(requests)} requests, measured from {number(window['start_s'])} s to "
            f"{number(window['end_s'])} s; {f'SLO {slo}' if slo else 'no SLO'}"
            f"{'; ratios are to the first arm' if len(summary['arms']) > 1 else ''}",
        ),
        soft_wrap=True,
    )
    for table in tables(summary):
        target.print()
        target.print(table)
    target.print()
    for sentence in sentences(summary):
        target.print(Text(fill(sentence, target.width, initial_indent="- ", subsequent_indent="  ")))
    if place:
        target.print(Text(f"Files: {place}"), soft_wrap=True)
