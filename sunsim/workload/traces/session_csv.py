"""Sessions in this project's CSV files: rounds that follow each other, told by further columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sunsim.clock import MAX_S
from sunsim.errors import InputError, clipped, limit_text
from sunsim.workload.sessions import UNKNOWN
from sunsim.workload.traces.clocks import numbers
from sunsim.workload.traces.rows import Rounds, TraceRows
from sunsim.workload.traces.sessions import order_of, together
from sunsim.workload.traces.table import NAMES, Table, coded, values_at, whole
from sunsim.workload.traces.text import Text

COLUMNS = ("session", "round", "think_s", "prefix", "prefix_tokens", "history_tokens")
SESSION, ROUND, THINK, PREFIX, PREFIX_TOKENS, HISTORY = COLUMNS
Fault = tuple[NDArray[np.bool_], Callable[[int], str]]
"""Which requests are wrong, bool[n], and what is to be said of one by its row."""


@dataclass(frozen=True, slots=True)
class SessionTable(Table):
    """A table that has sessions where it has a column ``session``.

    Then it has ``round`` (from 0) and ``think_s`` (from the last token of the round before to this one's arrival), and
    maybe ``prefix`` and ``prefix_tokens`` (all prompts of one prefix begin with the same tokens; without names of
    prefixes it is the model's) and ``history_tokens`` (how much of what was said before in the session a prompt begins
    with; all of it where the column is not there, or empty). Rounds from 1 on have no arrival.
    """

    more: ClassVar[dict[str, pa.DataType]] = {name: pa.float64() for name in COLUMNS} | {SESSION: NAMES, PREFIX: NAMES}

    def read(self, text: Text) -> TraceRows:
        """Reads a whole file; the rounds of a session stand together, sessions by arrival.

        Raises:
            InputError: as `Table.read`; a round is missing, or cannot follow the one before it.
        """
        header = self.header(text)
        if SESSION not in header:
            return Table.read(self, text)
        return _Reader(self, text, header).rows()

    def needed_with(self, header: list[str]) -> tuple[str, ...]:
        """With sessions also which round it is, and with names of prefixes how long they are."""
        further = (SESSION, ROUND, THINK) if SESSION in header else ()
        return self.needed + further + ((PREFIX_TOKENS,) if further and PREFIX in header else ())


class _Reader:
    """One file: its columns, in the order of the file."""

    def __init__(self, table: Table, text: Text, header: list[str]) -> None:
        self._table = table
        self._columns = columns = table.columns(text, header)
        self._text = text
        self._header = header
        self._base = table.rows(columns)
        self._session, self._names = coded(columns[SESSION])
        self._round = whole(numbers(columns[ROUND]), 0)
        self._later = self._round > 0
        self._think_s = numbers(columns[THINK])
        size = len(self._base)
        self._prefix_tokens = numbers(columns[PREFIX_TOKENS]) if PREFIX_TOKENS in header else np.zeros(size)
        self._prefixes = coded(columns[PREFIX]) if PREFIX in header else None
        self._history = numbers(columns[HISTORY]) if HISTORY in header else np.full(size, np.nan)

    def rows(self) -> TraceRows:
        self._refuse(self._alone())
        order = order_of(self._session, self._round, self._base.arrival_s)
        self._refuse(self._together(order))
        base = self._base.take(order)
        opens = ~self._later[order]
        first = np.flatnonzero(opens)[np.cumsum(opens) - 1]
        said = np.roll(base.prompt_tokens + base.output_tokens, 1)
        history = self._history[order]
        kept = np.where(opens, 0, np.where(np.isnan(history), said, history))
        rounds = Rounds(
            session=self._session[order],
            think_s=np.nan_to_num(self._think_s[order]),
            kept_tokens=kept.astype(np.int64),
            prefix=self._prefix()[order][first] if self._prefixes else None,
            prefix_tokens=np.nan_to_num(self._prefix_tokens)[order][first].astype(np.int64),
        )
        return together(base, rounds, from_zero=not self._table.sorted)

    def _prefix(self) -> NDArray[np.int64]:
        assert self._prefixes
        code, names = self._prefixes
        return np.where(np.array([bool(name) for name in names])[code], code, UNKNOWN)

    def _alone(self) -> Iterator[Fault]:
        """What is wrong with a line whatever the others say."""
        value, base, later = self._value, self._base, self._later
        clock = self._table.clock
        yield (
            np.array([not name for name in self._names])[self._session],
            lambda _: f"{SESSION} is empty, must be a name",
        )
        yield self._round < 0, lambda row: f"{ROUND} is '{value(row, ROUND)}', must be a whole number of at least 0"
        tokens = {self._table.prompt_tokens: base.prompt_tokens, self._table.output_tokens: base.output_tokens}
        for name, column in tokens.items():
            yield column < 0, partial(self._tokens_fault, name)
        yield ~later & np.isnan(base.arrival_s), lambda row: self._table.arrival_fault(value(row, clock.column))
        yield (
            later & self._given(clock.column),
            lambda row: (
                f"{clock.column} is '{value(row, clock.column)}' in round {value(row, ROUND)}, must be empty: "
                f"it arrives {THINK} after the round before"
            ),
        )
        if self._table.sorted:
            falls = np.zeros(later.size, np.bool_)
            at = np.flatnonzero(~later)
            falls[at[1:]] = base.arrival_s[at[1:]] < base.arrival_s[at[:-1]]
            yield falls, lambda row: f"{clock.column} is {value(row, clock.column)}, must not fall{self._table.mending}"
        timed = (self._think_s >= 0) & (self._think_s <= MAX_S)
        must = f"must be a number of seconds from 0 to {limit_text(MAX_S)}"
        yield later & ~timed, lambda row: f"{THINK} is '{value(row, THINK)}', {must}"
        yield (
            ~later & self._given(THINK) & (self._think_s != 0),
            lambda row: f"{THINK} is '{value(row, THINK)}' in round 0, must be empty: there is no round before",
        )
        yield from self._of_prefix()

    def _of_prefix(self) -> Iterator[Fault]:
        value, later, tokens = self._value, self._later, self._prefix_tokens
        if PREFIX_TOKENS not in self._header:
            return
        given = self._given(PREFIX_TOKENS)
        counted = (tokens >= 0) & (np.floor(tokens) == tokens)
        yield (
            given & ~counted,
            lambda row: f"{PREFIX_TOKENS} is '{value(row, PREFIX_TOKENS)}', must be a whole number of at least 0",
        )
        yield (
            given & (tokens >= self._base.prompt_tokens),
            lambda row: (
                f"{PREFIX_TOKENS} is {value(row, PREFIX_TOKENS)}, must be below {self._table.prompt_tokens} "
                f"({self._base.prompt_tokens[row]})"
            ),
        )
        if not self._prefixes:
            return
        prefix = self._prefix()
        named = ~later & (prefix != UNKNOWN)
        yield named & ~given, lambda row: f"{PREFIX_TOKENS} is empty, must be given for {PREFIX} {value(row, PREFIX)}"
        yield (
            ~later & (prefix == UNKNOWN) & (tokens > 0),
            lambda row: f"{PREFIX} is empty, must be a name where {PREFIX_TOKENS} is {value(row, PREFIX_TOKENS)}",
        )
        told = np.flatnonzero(named)
        _, first, of = np.unique(prefix[told], return_index=True, return_inverse=True)
        leader = np.full(later.size, UNKNOWN)
        leader[told] = told[first][of]
        yield (
            named & (tokens != tokens[leader]),
            lambda row: (
                f"{PREFIX_TOKENS} is {value(row, PREFIX_TOKENS)} of {PREFIX} {value(row, PREFIX)}, must be "
                f"{tokens[leader[row]]:g} as in line {self._base.line[leader[row]]}"
            ),
        )

    def _together(self, order: NDArray[np.int64]) -> Iterator[Fault]:
        """What is wrong with a line beside the others of its session; `order` has the rounds of each together."""
        value, base = self._value, self._base
        session, turn = self._session[order], self._round[order]
        begins = np.append(True, session[1:] != session[:-1])
        position = np.arange(order.size) - np.maximum.accumulate(np.where(begins, np.arange(order.size), 0))
        expected = np.empty(order.size, np.int64)
        expected[order] = position
        unknown = np.zeros(order.size, np.bool_)
        unknown[order] = begins & (turn > 0)
        name = self._name
        yield (
            unknown,
            lambda row: (
                f"{ROUND} is {self._round[row]} of {SESSION} {name(row)}, must be 0: the session has no round 0"
            ),
        )
        yield (
            self._round != expected,
            lambda row: (
                f"{ROUND} is {self._round[row]} of {SESSION} {name(row)}, must be {expected[row]}: rounds count from 0, "
                "each is there once"
            ),
        )
        said = np.zeros(order.size, np.int64)
        said[order] = np.where(begins, 0, np.roll((base.prompt_tokens + base.output_tokens)[order], 1))
        told = self._given(HISTORY) if HISTORY in self._header else np.zeros(order.size, np.bool_)
        prompt = self._table.prompt_tokens
        yield (
            ~told & (base.prompt_tokens <= said),
            lambda row: (
                f"{prompt} is {base.prompt_tokens[row]}, must be above {said[row]}: "
                f"prompt and answer of the round before, which it begins with"
            ),
        )
        most = np.minimum(said, base.prompt_tokens - 1)
        right = (self._history >= 0) & (self._history <= most) & (np.floor(self._history) == self._history)
        yield (
            told & self._later & ~right,
            lambda row: f"{HISTORY} is '{value(row, HISTORY)}', must be a whole number from 0 to {most[row]}",
        )

    def _given(self, name: str) -> NDArray[np.bool_]:
        """Where a column of numbers is not empty."""
        column = self._columns[name]
        if pa.types.is_string(column.type):
            return np.array([bool(text.strip()) for text in column.to_pylist()], np.bool_)
        given: NDArray[np.bool_] = column.is_valid().to_numpy()
        return given

    def _tokens_fault(self, name: str, row: int) -> str:
        return self._table.tokens_fault(name, self._value(row, name))

    def _name(self, row: int) -> str:
        return clipped(self._names[self._session[row]])

    def _value(self, row: int, name: str) -> str:
        """As it stands in the file."""
        line = int(self._base.line[row])
        return clipped(values_at(self._text, line, self._text.line(line), self._header)[name])

    def _refuse(self, faults: Iterator[Fault]) -> None:
        """Raises:
        InputError: a line is wrong; the first one.
        """
        found = [(int(wrong.argmax()), said) for wrong, said in faults if wrong.any()]
        if found:
            row, said = min(found, key=lambda fault: fault[0])
            raise InputError(said(row), self._text.path, int(self._base.line[row]))
