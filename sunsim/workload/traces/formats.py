"""Reads traces in the format that is named, or that the first line shows."""

from pathlib import Path

from sunsim.errors import InputError, clipped_list
from sunsim.latency.document import once
from sunsim.workload.traces.json_lines import keys_of
from sunsim.workload.traces.known import CSV, CSV_AS_LOGGED, FORMATS
from sunsim.workload.traces.lookalikes import renamed
from sunsim.workload.traces.rows import TraceRows
from sunsim.workload.traces.table import UNCLOSED, values_of
from sunsim.workload.traces.text import Text, read_text


def read_trace(path: Path, name: str) -> TraceRows:
    """Reads a trace in the format of that name.

    Raises:
        InputError: the file cannot be read, is in another format, has no request, lacks a column, or has a line that is
            wrong.
    """
    return read_any(path, name)[1]


SEPARATORS = (";", "\t", "|")
"""That a spreadsheet may have written instead of commas."""
TOLD = "must be told with --format"


@once(2)
def read_any(path: Path, name: str | None, otherwise: str = TOLD, *, as_logged: bool = False) -> tuple[str, TraceRows]:
    """`read_trace`, in the format that the first line shows if none is given, with the format's name.

    Args:
        otherwise: what a file must be, or be given with, whose first line does not show its format.
        as_logged: whether arrivals of format csv may fall and be of any clock; then they are as in other formats.

    Raises:
        InputError: as for `read_trace`, or the first line shows no format, or more than one.
    """
    text = read_text(path)
    if not text.data:
        message = "the trace is empty, must have a line for each request"
        raise InputError(message, path)
    name = _format(text, name, otherwise)
    try:
        rows = FORMATS[name].read(text)
    except InputError:
        if not (as_logged and name == "csv"):
            raise
        rows = CSV_AS_LOGGED.read(text)
    for column in (rows.arrival_s, rows.prompt_tokens, rows.output_tokens, rows.line):
        column.setflags(write=False)
    return name, rows


def _format(text: Text, name: str | None, otherwise: str) -> str:
    """`name`, or the format that the first line shows.

    Raises:
        InputError: the first line shows another format, or if none is given none or more than one.
    """
    first_line = text.line(1)
    shown = [each for each, kind in FORMATS.items() if kind.recognises(first_line)]
    if name and (name in shown or not shown):
        return name
    formats = f"one of {', '.join(FORMATS)}"
    if name:
        other = FORMATS[shown[0]]
        seen = f"the first line has {', '.join(other.shown_by)} as in format {shown[0]}, whose times are {other.unit}"
        message = f"{seen}, must be read as {' or '.join(shown)}, not as {name}"
    elif len(shown) > 1:
        message = f"the first line could be {' or '.join(shown)}, {otherwise}: {formats}"
    elif shown:
        return shown[0]
    elif almost := _almost_csv(first_line):
        message = f"the first line {almost}"
    else:
        nothing = f"the first line shows none of the known formats, {otherwise}: {formats}"
        message = f"{nothing}; {_instead(text, first_line)}"
    raise InputError(message, text.path, 1)


def _almost_csv(first_line: str) -> str:
    """What keeps a first line from being that of format csv; empty if it has nothing of it."""
    for separator in SEPARATORS:
        if {*CSV.needed} & {value.strip(' "') for value in first_line.split(separator)[1:]}:
            return f"is separated by {separator!r}, must be by ','"
    columns = [] if keys_of(first_line) is not None else values_of(first_line) or []
    missing = [name for name in CSV.needed if name not in columns]
    if len(missing) == len(CSV.needed):
        return ""
    lacks = f"lacks the column{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
    has = f"the columns are {clipped_list(columns)}{renamed(CSV.needed, CSV.unit, columns)}"
    return f"{lacks}, must have {', '.join(CSV.needed)} as format csv; {has}"


def _instead(text: Text, first_line: str) -> str:
    """What a first line that shows no format has.

    Raises:
        InputError: it has a quote that is not closed.
    """
    keys = keys_of(first_line)
    if keys is not None:
        bailian = FORMATS["bailian"]
        return f"the keys are {clipped_list(keys)}{renamed(bailian.needed, bailian.unit, keys)}"
    columns = values_of(first_line)
    if columns is None:
        raise InputError(UNCLOSED, text.path, 1)
    return f"the columns are {clipped_list(columns)}{renamed(CSV.needed, CSV.unit, columns)}"
