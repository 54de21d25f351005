"""``mooncake``: the Mooncake traces, https://github.com/kvcache-ai/Mooncake.

A JSON object a line: ``timestamp`` (milliseconds), ``input_length``, ``output_length``, and ``hash_ids``, which say what
prompts have in common and are not used: every prompt is prefilled whole. One model.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sunsim.errors import InputError
from sunsim.workload.traces.rows import MAX_CLOCK_S, MAX_TOKENS, TraceRows, from_first

if TYPE_CHECKING:
    from pathlib import Path

MS_PER_S = 1000
TOKENS = ("input_length", "output_length")


class Mooncake:
    """The format, with what `sunsim.workload.traces.table.Table` has for CSV files."""

    model = None

    def recognises(self, first_line: str) -> bool:
        """Whether a file that starts so has the keys; other formats have these, in other units, without `hash_ids` or
        with `chat_id`.
        """
        try:
            first = json.loads(first_line)
        except ValueError:
            return False
        return isinstance(first, dict) and {"timestamp", *TOKENS, "hash_ids"} <= first.keys() and "chat_id" not in first

    def read(self, path: Path) -> TraceRows:
        """Reads a whole file.

        Raises:
            InputError: the file has no request, or a line that is wrong.
            OSError, UnicodeDecodeError: it cannot be read.
        """
        with path.open(encoding="utf-8-sig") as file:
            requests = [_request(text, path, line) for line, text in enumerate(file, 1)]
        if not requests:
            message = "the trace is empty, must have a line for each request"
            raise InputError(message, path)
        timestamp_ms = np.array([request[0] for request in requests], np.float64)
        prompt_tokens, output_tokens = np.array([request[1:] for request in requests], np.int64).T
        line = np.arange(len(requests), dtype=np.int64) + 1
        return from_first(TraceRows(timestamp_ms / MS_PER_S, prompt_tokens, output_tokens, line))


def _request(text: str, path: Path, line: int) -> tuple[float, int, int]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = f"the line is {_short(text.strip())}, must be a JSON object"
        raise InputError(message, path, line)
    for key in ("timestamp", *TOKENS):
        if key not in found:
            message = f"{key} is missing, must be there; the keys are {', '.join(found)}"
            raise InputError(message, path, line)
    timestamp_ms = found["timestamp"]
    if not _is_number(timestamp_ms) or not 0 <= timestamp_ms <= MAX_CLOCK_S * MS_PER_S:
        message = f"timestamp is {_short(json.dumps(timestamp_ms))}, must be a number of milliseconds of at least 0"
        raise InputError(message, path, line)
    for key in TOKENS:
        if not _is_number(found[key]) or found[key] != int(found[key]) or not 0 <= found[key] < MAX_TOKENS:
            message = f"{key} is {_short(json.dumps(found[key]))}, must be a whole number of at least 0"
            raise InputError(message, path, line)
    return float(timestamp_ms), int(found[TOKENS[0]]), int(found[TOKENS[1]])


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _short(text: str) -> str:
    return f"{text[:40]}..." if len(text) > 40 else text or "empty"


MOONCAKE = Mooncake()
