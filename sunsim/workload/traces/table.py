"""Traces in CSV files: columns found by name in the first line, a request in each other line."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from sunsim.errors import InputError
from sunsim.workload.traces.rows import MAX_TOKENS, TraceRows, from_first

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Clock(Protocol):
    """The column of arrivals."""

    @property
    def column(self) -> str:
        """Its name."""

    @property
    def type(self) -> pa.DataType:
        """What it is read as."""

    def seconds(self, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """Arrivals in seconds, float64[n]; NaN where a value is wrong."""

    def fault(self, text: str) -> str | None:
        """What is wrong with a value, if anything is."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Arrivals as numbers of seconds, from 0 to `most`."""

    column: str
    most: float

    @property
    def type(self) -> pa.DataType:
        """Numbers."""
        return pa.float64()

    def seconds(self, values: pa.ChunkedArray) -> NDArray[np.float64]:
        """The numbers themselves, NaN where out of range."""
        found: NDArray[np.float64] = values.fill_null(np.nan).to_numpy()
        return np.where((found >= 0) & (found <= self.most), found, np.nan)

    def fault(self, text: str) -> str | None:
        """Says so if `text` is no number, or out of range."""
        try:
            arrival_s = float(text)
        except ValueError:
            return f"is '{text}', must be a number of seconds"
        return None if 0 <= arrival_s <= self.most else f"is {arrival_s:g}, must be from 0 to {self.most:g} seconds"


@dataclass(frozen=True, slots=True)
class Table:
    """What a format calls its columns, and what it allows.

    Attributes:
        model: the column of models' names, which a file may lack; None if the format has none.
        least_tokens: of a prompt and an output; 0 where requests that failed are in the trace.
        sorted: whether arrivals must not fall, and stay as they are; if not, requests are sorted, the first at 0.
    """

    clock: Clock
    prompt_tokens: str
    output_tokens: str
    model: str | None = None
    least_tokens: int = 0
    sorted: bool = False

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that every file has."""
        return self.clock.column, self.prompt_tokens, self.output_tokens

    def recognises(self, first_line: str) -> bool:
        """Whether a file that starts so has the columns."""
        return set(self.needed) <= set(next(csv.reader([first_line]), []))

    def read(self, path: Path) -> TraceRows:
        """Reads a whole file.

        Raises:
            InputError: the file has no request, lacks a column, or has a line that is wrong.
            OSError, UnicodeDecodeError: it cannot be read.
        """
        header = self._header(path)
        try:
            rows = self._rows(path, header)
        except pa.ArrowInvalid as error:
            self._raise_first_fault(path, header, str(error))
        if not self._is_valid(rows):
            self._raise_first_fault(path, header, "a value is out of range")
        return rows if self.sorted else from_first(rows)

    def _header(self, path: Path) -> list[str]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
            if not header:
                message = "the trace is empty, must have a line of column names and a line for each request"
                raise InputError(message, path)
            for name in filter(None, (*self.needed, self.model)):
                count = header.count(name)
                if count > 1 or (count == 0 and name != self.model):
                    problem = "is missing" if count == 0 else "is there twice"
                    message = f"column {name} {problem}, must be there once; the columns are {', '.join(header)}"
                    raise InputError(message, path, 1)
            if not file.read(1):
                message = "the trace has no request, must have at least one line after the column names"
                raise InputError(message, path)
        return header

    def _rows(self, path: Path, header: list[str]) -> TraceRows:
        types = dict(zip(self.needed, (self.clock.type, pa.int64(), pa.int64()), strict=True))
        if self.model in header:
            types[self.model] = pa.dictionary(pa.int32(), pa.string())
        table = pa_csv.read_csv(
            path,
            parse_options=pa_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(include_columns=list(types), column_types=types),
        )
        # A missing number becomes one that is out of range.
        prompt_tokens, output_tokens = (
            table[name].fill_null(-1).to_numpy() for name in (self.prompt_tokens, self.output_tokens)
        )
        model, names = None, ()
        if self.model in header:
            coded = table[self.model].unify_dictionaries().combine_chunks()
            model = coded.indices.to_numpy().astype(np.int64)
            names = tuple(coded.dictionary.to_pylist())
        line = np.arange(len(prompt_tokens), dtype=np.int64) + 2
        return TraceRows(self.clock.seconds(table[self.clock.column]), prompt_tokens, output_tokens, line, model, names)

    def _is_valid(self, rows: TraceRows) -> bool:
        tokens = (rows.prompt_tokens, rows.output_tokens)
        return bool(
            np.isfinite(rows.arrival_s).all()
            and (not self.sorted or (np.diff(rows.arrival_s) >= 0).all())
            and all(((column >= self.least_tokens) & (column < MAX_TOKENS)).all() for column in tokens)
        )

    def _raise_first_fault(self, path: Path, header: list[str], otherwise: str) -> NoReturn:
        """Goes through the file line by line, which the fast way cannot, and raises at the first fault."""
        arrival, *tokens = self.needed
        place = {name: header.index(name) for name in self.needed}
        previous = "0"
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for row in reader:
                line = reader.line_num
                if len(row) != len(header):
                    message = f"the line has {len(row)} values, must have {len(header)}"
                    raise InputError(message, path, line)
                text = row[place[arrival]]
                fault = self.clock.fault(text)
                if fault:
                    message = f"{arrival} {fault}"
                    raise InputError(message, path, line)
                if self.sorted and float(text) < float(previous):
                    message = (
                        f"{arrival} is {float(text):g} after {float(previous):g} in the line before, must not fall"
                    )
                    raise InputError(message, path, line)
                previous = text
                for name in tokens:
                    self._check_tokens(name, row[place[name]], path, line)
        message = f"not a CSV trace: {' '.join(otherwise.split())}"
        raise InputError(message, path)

    def _check_tokens(self, name: str, text: str, path: Path, line: int) -> None:
        try:
            tokens = int(text)
        except ValueError:
            tokens = -1
        if not self.least_tokens <= tokens < MAX_TOKENS:
            message = f"{name} is '{text}', must be a whole number of at least {self.least_tokens}"
            raise InputError(message, path, line)
