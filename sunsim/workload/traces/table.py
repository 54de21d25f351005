"""Traces in CSV files: columns found by name in the first line, a request in each other line."""

import csv
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from sunsim.errors import InputError, clipped, clipped_list
from sunsim.workload.traces.clocks import Clock, numbers
from sunsim.workload.traces.lookalikes import renamed
from sunsim.workload.traces.rows import MAX_TOKENS, TraceRows, from_first
from sunsim.workload.traces.text import MAX_LINE, MAX_OBJECT, Text

NAMES = pa.dictionary(pa.int32(), pa.string())
"""Columns of names."""

# A value may be as long as its line, which Python's reader does not allow by itself.
csv.field_size_limit(MAX_OBJECT)


@dataclass(frozen=True, slots=True)
class Table:
    """What a format calls its columns, and what it allows.

    Attributes:
        model: the column of models' names, which a file may lack; None if the format has none.
        least_tokens: of a prompt and an output; 0 where requests that failed are in the trace.
        sorted: whether arrivals must not fall, and stay as they are; if not, requests are sorted, the first at 0.
        mending: how arrivals that fall, or are too late, are mended; the end of a message.
    """

    clock: Clock
    prompt_tokens: str
    output_tokens: str
    model: str | None = None
    least_tokens: int = 0
    sorted: bool = False
    mending: str = ""
    more: ClassVar[dict[str, pa.DataType]] = {}
    """Further columns, which files may have."""

    @property
    def needed(self) -> tuple[str, str, str]:
        """Columns that every file has."""
        return self.clock.column, self.prompt_tokens, self.output_tokens

    @property
    def shown_by(self) -> tuple[str, ...]:
        """Columns that show the format."""
        return self.needed

    @property
    def unit(self) -> str:
        """Of arrivals."""
        return self.clock.unit

    def recognises(self, first_line: str) -> bool:
        """Whether a file that starts so has the columns."""
        return not first_line.startswith("{") and set(self.needed) <= set(values_of(first_line) or ())

    def read(self, text: Text) -> TraceRows:
        """Reads a whole file.

        Raises:
            InputError: the file has no request, lacks a column, or has a line that is wrong.
        """
        header = self.header(text)
        rows = self.rows(self.columns(text, header))
        wrong = self._wrong(rows)
        if wrong.any():
            line = int(rows.line[wrong.argmax()])
            raise InputError(self._fault(text, header, line), text.path, line)
        return rows if self.sorted else from_first(rows)

    def header(self, text: Text) -> list[str]:
        """The columns' names.

        Raises:
            InputError: the file has no request, lacks a column, or has one twice.
        """
        header = values_of(text.line(1))
        if header is None:
            raise InputError(UNCLOSED, text.path, 1)
        needed = self.needed_with(header)
        for name in filter(None, (*needed, *self.more, self.model)):
            count = header.count(name)
            if count > 1 or (count == 0 and name in needed):
                problem = "is missing" if count == 0 else "is there twice"
                message = f"column {name} {problem}, must be there once; the columns are {clipped_list(header)}"
                raise InputError(message + renamed(self.needed, self.unit, header), text.path, 1)
        if text.lines == 1:
            message = "the trace has no request, must have at least one line after the column names"
            raise InputError(message, text.path)
        return header

    def needed_with(self, header: list[str]) -> tuple[str, ...]:  # noqa: ARG002 - a format may need more
        """Columns that a file with this header must have."""
        return self.needed

    def columns(self, text: Text, header: list[str]) -> pa.Table:
        """Those that are used, numbers as numbers or, where a value is none, as text.

        Raises:
            InputError: a line is not one request.
        """
        types = {name: kind for name, kind in self._types().items() if name in header}
        try:
            columns = self._columns(text, header, types)
        except pa.ArrowInvalid:
            columns = None
        # A quote that is not closed takes lines with it, up to the next one.
        if columns is None or columns.num_rows != text.lines - 1:
            columns = self._columns_by_line(text, header, types)
        return columns

    def _types(self) -> dict[str, pa.DataType]:
        types = dict.fromkeys(self.needed, pa.float64()) | {self.clock.column: self.clock.type}
        return types | ({self.model: NAMES} if self.model else {}) | self.more

    def _columns(self, text: Text, header: list[str], types: dict[str, pa.DataType]) -> pa.Table:
        # Arrow's own copy: its threads may outlast this call by a moment, and could not let go of Python's bytes while
        # the interpreter ends.
        copy = pa.BufferOutputStream()
        copy.write(text.data)
        return pa_csv.read_csv(
            pa.BufferReader(copy.getvalue()),
            # A line must fit into a block.
            read_options=pa_csv.ReadOptions(column_names=header, skip_rows=1, block_size=2 * MAX_LINE),
            parse_options=pa_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(include_columns=list(types), column_types=types),
        )

    def _columns_by_line(self, text: Text, header: list[str], types: dict[str, pa.DataType]) -> pa.Table:
        """The same as text, a row a line whatever stands in it, more slowly.

        Raises:
            InputError: a line is not one request.
        """
        found: dict[str, list[str]] = {name: [] for name in types}
        for number, line in islice(enumerate(text, 1), 1, None):
            values = values_at(text, number, line, header)
            for name, column in found.items():
                column.append(values[name])
        columns = {name: pa.chunked_array([values], pa.string()) for name, values in found.items()}
        named = {name: column.dictionary_encode() for name, column in columns.items() if types[name] == NAMES}
        return pa.table(columns | named)

    def rows(self, columns: pa.Table) -> TraceRows:
        """The requests in the order of the file; NaN seconds and -1 tokens where a value is wrong."""
        prompt_tokens, output_tokens = (
            whole(numbers(columns[name]), self.least_tokens) for name in (self.prompt_tokens, self.output_tokens)
        )
        named = self.model in columns.column_names
        model, names = coded(columns[self.model]) if named else (None, ())
        line = np.arange(columns.num_rows, dtype=np.int64) + 2
        arrival_s = self.clock.seconds(columns[self.clock.column])
        return TraceRows(arrival_s, prompt_tokens, output_tokens, line, model, names)

    def _wrong(self, rows: TraceRows) -> NDArray[np.bool_]:
        wrong = np.isnan(rows.arrival_s) | (rows.prompt_tokens < 0) | (rows.output_tokens < 0)
        if self.sorted:
            wrong[1:] |= rows.arrival_s[1:] < rows.arrival_s[:-1]
        return wrong

    def _fault(self, text: Text, header: list[str], line: int) -> str:
        """What is wrong with a line of which something is."""
        found = values_at(text, line, text.line(line), header)
        arrival, *tokens = self.needed
        values = pa.chunked_array([[found[name]] for name in self.needed], pa.string())
        if np.isnan(self.clock.seconds(values[:1])[0]):
            return self.arrival_fault(found[arrival])
        for name, number in zip(tokens, whole(numbers(values[1:]), self.least_tokens), strict=True):
            if number < 0:
                return self.tokens_fault(name, found[name])
        before = values_at(text, line - 1, text.line(line - 1), header)[arrival]
        return f"{arrival} is {clipped(found[arrival])} after {clipped(before)} in the line before, must not fall{self.mending}"

    def arrival_fault(self, value: str) -> str:
        """What is wrong with an arrival that is none."""
        late = numbers(pa.chunked_array([[value]], pa.string()))[0] > 0
        must = f"must be {self.clock.expected}{self.mending if late else ''}"
        return f"{self.clock.column} is '{clipped(value)}', {must}"

    def tokens_fault(self, name: str, value: str) -> str:
        """What is wrong with a number of tokens that is none."""
        return f"{name} is '{clipped(value)}', must be a whole number of at least {self.least_tokens}, below {MAX_TOKENS:,}"


UNCLOSED = "a quote opens in the line and is not closed in it, must be closed: no value goes on in the next line"


def values_of(line: str) -> list[str] | None:
    """The values of a line of CSV; None if a quote in it is not closed."""
    reader = csv.reader([line, ""])
    values = next(reader)
    return values if reader.line_num == 1 else None


def values_at(text: Text, number: int, line: str, header: list[str]) -> dict[str, str]:
    """A line's values by column.

    Raises:
        InputError: a quote in it is not closed, or it has not as many values as there are columns.
    """
    values = values_of(line)
    if values is None:
        raise InputError(UNCLOSED, text.path, number)
    if len(values) != len(header):
        message = f"the line has {len(values)} values, must have {len(header)}"
        raise InputError(message, text.path, number)
    return dict(zip(header, values, strict=True))


def coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Numbers in the place of names, int64[n], and the names."""
    found = column.unify_dictionaries().combine_chunks()
    return found.indices.to_numpy().astype(np.int64), tuple(found.dictionary.to_pylist())


def whole(numbers: NDArray[np.float64], least: int) -> NDArray[np.int64]:
    """Tokens; -1 where a number is not whole, or is out of range."""
    right = (numbers >= least) & (numbers < MAX_TOKENS) & (np.floor(numbers) == numbers)
    return np.where(right, numbers, -1).astype(np.int64)
