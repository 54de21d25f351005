"""Traces: requests read from a file.

``csv``: columns ``arrival_s`` (seconds, not falling), ``prompt_tokens``, ``output_tokens`` (whole, at least 1) and
maybe ``model``, found by name in the first line; other columns are ignored.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from sunsim.clock import MAX_S
from sunsim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_TOKEN_COLUMNS = ("prompt_tokens", "output_tokens")
_COLUMNS = ("arrival_s", *_TOKEN_COLUMNS)
_MAX_TOKENS = 2**30


class TraceRows(NamedTuple):
    """A trace as read; row i stands in line i + 2.

    Attributes:
        arrival_s: seconds, float64[n].
        prompt_tokens: int64[n].
        output_tokens: int64[n].
        model: index into the models asked for, int64[n]; None without a model column.
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    model: NDArray[np.int64] | None


def read_csv_trace(path: Path, models: Sequence[str]) -> TraceRows:
    """Reads a trace whose models, if it names any, are among `models`.

    Raises:
        InputError: the file cannot be read, has no request, lacks a column, or has a line that is wrong.
    """
    try:
        return _read_or_explain(path, models)
    except OSError as error:
        message = f"cannot be read ({error.strerror}), must be a trace file"
        raise InputError(message, path) from error
    except UnicodeDecodeError as error:
        message = "is not UTF-8 text, must be a trace file"
        raise InputError(message, path) from error


def _read_or_explain(path: Path, models: Sequence[str]) -> TraceRows:
    header = _header(path)
    try:
        rows = _read(path, header, models)
    except pa.ArrowInvalid as error:
        _raise_first_fault(path, header, models, str(error))
    if not _is_valid(rows):
        _raise_first_fault(path, header, models, "a value is out of range")
    return rows


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
        if not header:
            message = "the trace is empty, must have a line of column names and a line for each request"
            raise InputError(message, path)
        for name in (*_COLUMNS, "model"):
            count = header.count(name)
            if count > 1 or (count == 0 and name != "model"):
                problem = "is missing" if count == 0 else "is there twice"
                message = f"column {name} {problem}, must be there once; the columns are {', '.join(header)}"
                raise InputError(message, path, 1)
        if not file.read(1):
            message = "the trace has no request, must have at least one line after the column names"
            raise InputError(message, path)
    return header


def _read(path: Path, header: list[str], models: Sequence[str]) -> TraceRows:
    types = {"arrival_s": pa.float64(), "prompt_tokens": pa.int64(), "output_tokens": pa.int64()}
    if "model" in header:
        types["model"] = pa.string()
    table = pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(include_columns=list(types), column_types=types),
    )
    # What cannot be read becomes 0 tokens, no time or no model, which is out of range.
    arrival_s = table["arrival_s"].fill_null(-1.0).to_numpy()
    prompt_tokens, output_tokens = (table[name].fill_null(0).to_numpy() for name in _TOKEN_COLUMNS)
    model = None
    if "model" in header:
        model = pc.index_in(table["model"], pa.array(models, pa.string())).fill_null(-1).to_numpy().astype(np.int64)
    return TraceRows(arrival_s, prompt_tokens, output_tokens, model)


def _is_valid(rows: TraceRows) -> bool:
    arrival_s = rows.arrival_s
    return bool(
        ((arrival_s >= 0) & (arrival_s <= MAX_S)).all()
        and (np.diff(arrival_s) >= 0).all()
        and all(((column >= 1) & (column < _MAX_TOKENS)).all() for column in (rows.prompt_tokens, rows.output_tokens))
        and (rows.model is None or (rows.model >= 0).all())
    )


def _raise_first_fault(path: Path, header: list[str], models: Sequence[str], otherwise: str) -> NoReturn:
    """Goes through the file line by line, which the fast way cannot, and raises at the first fault."""
    place = {name: header.index(name) for name in (*_COLUMNS, "model") if name in header}
    previous_s = 0.0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for row in reader:
            line = reader.line_num
            if len(row) != len(header):
                message = f"the line has {len(row)} values, must have {len(header)}"
                raise InputError(message, path, line)
            arrival_s = _arrival(row[place["arrival_s"]], path, line)
            if arrival_s < previous_s:
                message = f"arrival_s is {arrival_s:g} after {previous_s:g} in the line before, must not fall"
                raise InputError(message, path, line)
            previous_s = arrival_s
            for name in _TOKEN_COLUMNS:
                _check_tokens(name, row[place[name]], path, line)
            if "model" in place and row[place["model"]] not in models:
                message = f"model is '{row[place['model']]}', must be a model of the scenario: {', '.join(models)}"
                raise InputError(message, path, line)
    message = f"not a CSV trace: {' '.join(otherwise.split())}"
    raise InputError(message, path)


def _arrival(text: str, path: Path, line: int) -> float:
    try:
        arrival_s = float(text)
    except ValueError as error:
        message = f"arrival_s is '{text}', must be a number of seconds"
        raise InputError(message, path, line) from error
    if not 0 <= arrival_s <= MAX_S:
        message = f"arrival_s is {arrival_s:g}, must be from 0 to {MAX_S:g} seconds"
        raise InputError(message, path, line)
    return arrival_s


def _check_tokens(name: str, text: str, path: Path, line: int) -> None:
    try:
        tokens = int(text)
    except ValueError:
        tokens = 0
    if not 1 <= tokens < _MAX_TOKENS:
        message = f"{name} is '{text}', must be a whole number of at least 1"
        raise InputError(message, path, line)
