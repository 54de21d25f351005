"""The formats by the names that a scenario calls them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from sunsim.errors import InputError
from sunsim.workload.traces.azure import AZURE
from sunsim.workload.traces.burstgpt import BURSTGPT
from sunsim.workload.traces.csv_format import CSV
from sunsim.workload.traces.mooncake import MOONCAKE
from sunsim.workload.traces.vidur import VIDUR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sunsim.workload.traces.rows import TraceRows


class Format(Protocol):
    """What a format's module offers."""

    @property
    def model(self) -> str | None:
        """The column of models' names; None if there is none."""

    def recognises(self, first_line: str) -> bool:
        """Whether a file that starts so is likely in this format."""

    def read(self, path: Path) -> TraceRows:
        """Reads a whole file."""


FORMATS: Final[Mapping[str, Format]] = {
    "csv": CSV,
    "azure": AZURE,
    "burstgpt": BURSTGPT,
    "mooncake": MOONCAKE,
    "vidur": VIDUR,
}


def read_trace(path: Path, name: str) -> TraceRows:
    """Reads a trace in the format of that name, once for each state of the file.

    Raises:
        InputError: the file cannot be read, has no request, lacks a column, or has a line that is wrong.
    """
    try:
        stat = path.stat()
        return _read_once(path, name, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def guess_format(path: Path) -> str:
    """The format that a file's first line shows.

    Raises:
        InputError: the file cannot be read, or it shows none or more than one.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            first_line = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    found = [name for name, kind in FORMATS.items() if kind.recognises(first_line)]
    if len(found) != 1:
        problem = f"could be {' or '.join(found)}" if found else "shows none of the known formats"
        message = f"the first line {problem}, must be told with --format: one of {', '.join(FORMATS)}"
        raise InputError(message, path, 1)
    return found[0]


@lru_cache(maxsize=2)
def _read_once(path: Path, name: str, mtime_ns: int, size: int) -> TraceRows:  # noqa: ARG001 - the file's state
    rows = FORMATS[name].read(path)
    for column in (rows.arrival_s, rows.prompt_tokens, rows.output_tokens, rows.line):
        column.setflags(write=False)
    return rows


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> InputError:
    problem = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "is not UTF-8 text"
    return InputError(f"{problem}, must be a trace file", path)
