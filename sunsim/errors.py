"""The error that a user can cause, and those that a simulation can end with."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path

from sunsim.visible import visible


class InputError(Exception):
    """Something that the user gave is wrong: a scenario, a trace, a profile, an option.

    Attributes:
        message: what is wrong and what would be right, in one line.
        file: the file it stands in, or the option it came from (``--set``); None if neither is known.
        line: its line there, counted from 1; None if it has none.
    """

    def __init__(self, message: str, file: Path | str | None = None, line: int | None = None) -> None:
        super().__init__(message, file, line)
        self.message = message
        self.file = file
        self.line = line

    def __str__(self) -> str:
        """``file:line: message`` in one line, leaving out what is not known."""
        if self.file is None:
            return visible(self.message)
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return visible(f"{place}: {self.message}")


class SimulationError(Exception):
    """A simulation that others wait for has failed; says why in one line."""


class ClusterLostError(Exception):
    """The machines that simulate are gone; says in one line how to go on."""


def limit_text(number: float) -> str:
    """A limit as people write it, without an exponent: 8,640,000, 0.000001."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.12f}".rstrip("0").rstrip(".")


def clipped(text: str, limit: int = 80) -> str:
    """`text` as a message shows it: cut to `limit` characters, and what a terminal would not show is escaped."""
    shown = visible(text[:limit])
    return shown if len(text) <= limit else f"{shown}..."


def clipped_list(names: Collection[object], most: int = 20) -> str:
    """``a, b, c``, each clipped; of more than `most` only the first, and how many more there are."""
    shown = ", ".join(clipped(str(name), 40) for name in islice(names, most))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
