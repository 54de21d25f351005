"""The verb `trace convert`."""

from pathlib import Path

import numpy as np
import pandas as pd

from sunsim.errors import InputError
from sunsim.files import refusing, replacing
from sunsim.report.format import count
from sunsim.report.origin import left_out
from sunsim.trace.describe import selected
from sunsim.workload.sessions import UNKNOWN
from sunsim.workload.traces.rows import Rounds, TraceRows
from sunsim.workload.traces.select import Window, refuse_too_late

PLACE = "a file for requests"


def convert(file: Path, name: str | None, window: Window, out: Path) -> str:
    """Write the requests of a trace in the format ``csv``.

    Args:
        file: the trace.
        name: of its format; None to go by its first line.
        window: what to use of it, and how fast.
        out: the file to write; one that is there is replaced.

    Returns:
        What was written and what was left out, in one line.

    Raises:
        InputError: the trace is wrong, no request of it is left, or `out` cannot be written.
    """
    _, selection = selected(file, name, window)
    refuse_too_late(selection, file)
    with refusing(out, PLACE):
        if out.exists() and out.samefile(file):
            message = "is the trace itself, must be another file"
            raise InputError(message, "--out")
    with replacing(out, PLACE) as path:
        table(selection.rows).to_csv(path, index=False, lineterminator="\n")
    missing = left_out(selection)
    return f"{out}: {count(len(selection.rows))} requests of {file.name}{f', {missing}' if missing else ''}"


def table(rows: TraceRows) -> pd.DataFrame:
    """The columns of the format ``csv``, `model` only where the trace names any, those of rounds where it has some."""
    made = pd.DataFrame(
        {"arrival_s": rows.arrival_s, "prompt_tokens": rows.prompt_tokens, "output_tokens": rows.output_tokens}
    )
    if rows.rounds is not None:
        _add_rounds(made, rows, rows.rounds)
    if rows.model is not None:
        made["model"] = np.array(rows.names, object)[rows.model]
    return made


def _add_rounds(made: pd.DataFrame, rows: TraceRows, rounds: Rounds) -> None:
    """What says which request follows which; a column of which nothing is to be said is left out."""
    opens = rounds.opens
    said = np.roll(rows.prompt_tokens + rows.output_tokens, 1)
    made["arrival_s"] = made["arrival_s"].where(opens)
    made["session"] = np.cumsum(opens) - 1
    made["round"] = made.groupby("session").cumcount()
    made["think_s"] = pd.Series(rounds.think_s).where(~opens)
    if (rounds.prefix_tokens > 0).any():
        known = opens if rounds.prefix is None else opens & (rounds.prefix != UNKNOWN)
        if rounds.prefix is not None:
            made["prefix"] = pd.Series(rounds.prefix, dtype="Int64").where(known)
        begin = np.minimum(rounds.prefix_tokens, rows.prompt_tokens - 1)
        made["prefix_tokens"] = pd.Series(begin, dtype="Int64").where(known)
    partly = ~opens & (rounds.kept_tokens < said)
    if partly.any():
        made["history_tokens"] = pd.Series(rounds.kept_tokens, dtype="Int64").where(partly)
