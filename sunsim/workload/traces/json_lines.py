"""Traces with a JSON object a line: ``timestamp``, ``input_length``, ``output_length`` and others."""

import json
import math
from array import array
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sunsim.errors import InputError, clipped, clipped_list, limit_text
from sunsim.workload.traces.lookalikes import renamed
from sunsim.workload.traces.rows import MAX_CLOCK_S, MAX_TOKENS, TraceRows, from_first
from sunsim.workload.traces.text import Text

KEYS: Final = ("timestamp", "input_length", "output_length")


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A format, with what `sunsim.workload.traces.table.Table` has for CSV files. One model.

    Attributes:
        unit: of timestamps.
        per_second: how many of them a second has.
        shown_by: keys that show the format.
        required: whether every line has these keys.
        not_with: keys that files in another unit have, with what to read those as.
    """

    unit: str
    per_second: int
    shown_by: tuple[str, ...]
    required: bool = False
    not_with: tuple[tuple[str, str], ...] = ()
    model = None
    needed = KEYS

    def recognises(self, first_line: str) -> bool:
        """Whether a file that starts so has the keys."""
        keys = keys_of(first_line) or {}
        return {*KEYS, *self.shown_by} <= keys.keys() and not any(key in keys for key, _ in self.not_with)

    def read(self, text: Text) -> TraceRows:
        """Reads a whole file.

        Raises:
            InputError: the file has no request, or a line that is wrong.
        """
        timestamps, prompt_tokens, output_tokens = array("d"), array("q"), array("q")
        for line, written in enumerate(text, 1):
            found = keys_of(written)
            fault = self._fault(found, written)
            if fault or found is None:
                raise InputError(fault, text.path, line)
            timestamps.append(found[KEYS[0]])
            prompt_tokens.append(int(found[KEYS[1]]))
            output_tokens.append(int(found[KEYS[2]]))
        arrival_s = np.asarray(timestamps) / self.per_second
        lines = np.arange(text.lines, dtype=np.int64) + 1
        return from_first(TraceRows(arrival_s, np.asarray(prompt_tokens), np.asarray(output_tokens), lines))

    def _fault(self, found: dict[str, Any] | None, written: str) -> str:
        """What is wrong with a line; empty if nothing is."""
        if found is None:
            return f"the line is {clipped(written.strip(), 40) or 'empty'}, must be a JSON object"
        for key, instead in self.not_with:
            if key in found:
                return f"{key} is there, must not be where timestamps are {self.unit}: such a file is {instead}"
        for key in (*KEYS, *self.shown_by) if self.required else KEYS:
            if key not in found:
                return f"{key} is missing, must be there; the keys are {clipped_list(found)}{renamed(KEYS, self.unit, found)}"
        if not 0 <= number_of(found[KEYS[0]]) <= MAX_CLOCK_S * self.per_second:
            most = f"of at least 0, at most {limit_text(MAX_CLOCK_S * self.per_second)}"
            return f"{KEYS[0]} is {shown(found[KEYS[0]])}, must be a number of {self.unit} {most}"
        for key in KEYS[1:]:
            tokens = number_of(found[key])
            if not 0 <= tokens < MAX_TOKENS or tokens % 1:
                return f"{key} is {shown(found[key])}, must be a whole number of at least 0, below {MAX_TOKENS:,}"
        return ""


def keys_of(line: str) -> dict[str, Any] | None:
    """The JSON object that a line is; None if it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def number_of(value: Any) -> float:
    """`value`; NaN if it is no number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return clipped(json.dumps(value), 40)
