"""The verb `trace describe`."""

import sys
from pathlib import Path

import numpy as np

from sunsim.errors import InputError
from sunsim.files import replacing
from sunsim.metrics import to_json
from sunsim.report.origin import provenance
from sunsim.report.terminal import say
from sunsim.trace.report import trace_report
from sunsim.trace.statistics import statistics
from sunsim.workload.sessions import Sessions
from sunsim.workload.traces.formats import read_any
from sunsim.workload.traces.hashes import BLOCK_TOKENS, hashed_sessions
from sunsim.workload.traces.select import Selection, Window, select
from sunsim.workload.traces.sessions import sessions_of


def describe(file: Path, name: str | None, window: Window, out: Path | None, *, as_json: bool) -> None:
    """Print what a trace looks like, and draw it.

    Args:
        file: the trace.
        name: of its format; None to go by its first line.
        window: what to use of it, and how fast.
        out: folder of the figure; None for none.
        as_json: print the figures as JSON instead of text.

    Raises:
        InputError: the trace is wrong, no request of it is left, or the folder cannot be used.
    """
    name, selection = selected(file, name, window)
    sessions, unknown = _sessions(file, name, selection)
    facts = {**provenance(file, name, selection), **statistics(selection.rows, sessions)}
    if unknown:
        facts["repeated_share_unknown"] = unknown
    figure = out / f"{file.stem}.png" if out else None
    if figure:
        from plots.trace import plot_trace  # noqa: PLC0415 - matplotlib is not needed otherwise

        with replacing(figure, "a file for a figure") as path:
            plot_trace(selection.rows, facts["models"], file.name, path)
    if as_json:
        sys.stdout.write(to_json(facts))
    else:
        say(trace_report(facts, selection, figure).blocks)


def _sessions(file: Path, name: str, selection: Selection) -> tuple[Sessions | None, str]:
    """What requests have in common, None if nothing is known of it; and what is wrong with what the trace says of it."""
    rows = selection.rows
    if rows.rounds is not None:
        return sessions_of(rows, rows.rounds, np.zeros(len(rows), np.int64) if rows.model is None else rows.model), ""
    if name not in BLOCK_TOKENS:
        return None, ""
    try:
        return hashed_sessions(rows, file, BLOCK_TOKENS[name]), ""
    except InputError as fault:
        return None, str(fault)


def selected(file: Path, name: str | None, window: Window) -> tuple[str, Selection]:
    """The format's name and what is used of a trace.

    Raises:
        InputError: the trace is wrong, or no request of it is left.
    """
    name, rows = read_any(file, name, as_logged=True)
    return name, select(rows, window, file)
