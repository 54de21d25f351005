"""Traces of agents' sessions with a JSON object a line, which is a round: TraceLab's, and LMCache's with tokens counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import isnan, nan
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sunsim.clock import MAX_S
from sunsim.errors import InputError, clipped, clipped_list, limit_text
from sunsim.workload.sessions import UNKNOWN
from sunsim.workload.traces.json_lines import keys_of, number_of, shown
from sunsim.workload.traces.rows import MAX_CLOCK_S, MAX_TOKENS, Rounds, TraceRows
from sunsim.workload.traces.sessions import order_of, together
from sunsim.workload.traces.text import Text

NS_PER_S = 1e9
AS_PUBLISHED = ("session_id", "input", "output_length", "pre_gap")
INPUT_EVENTS = frozenset({"user_message", "tool_result"})


class Told(NamedTuple):
    """What a line says of its round: seconds are of the trace's own clock.

    Attributes:
        begin_s: when it was asked for; NaN where the trace does not say.
        end_s: when it was over; NaN where the trace does not say, or `think_s` is known.
        think_s: from the end of the round before to its beginning; NaN where the clock tells.
        kept_tokens: of what was said before in the session; None: all that the prompt has room for.
    """

    begin_s: float
    end_s: float
    think_s: float
    kept_tokens: int | None


class Fault(ValueError):
    """What is wrong with a line."""


class SessionLines(ABC):
    """A format, with what `sunsim.workload.traces.table.Table` has for CSV files."""

    session: ClassVar[str] = "session_id"
    turn: ClassVar[str]
    arrival: ClassVar[str]
    prompt_tokens: ClassVar[str]
    output_tokens: ClassVar[str]
    unit: ClassVar[str]
    model: ClassVar[str] = "model"

    @property
    def needed(self) -> tuple[str, str, str]:
        """Keys of arrival, prompt and output."""
        return self.arrival, self.prompt_tokens, self.output_tokens

    @property
    def shown_by(self) -> tuple[str, ...]:
        """Keys that show the format."""
        return self.session, self.turn, self.prompt_tokens, self.output_tokens

    def recognises(self, first_line: str) -> bool:
        """Whether a file that starts so has the keys."""
        return set(self.shown_by) <= (keys_of(first_line) or {}).keys()

    @abstractmethod
    def told(self, line: Mapping[str, Any]) -> Told:
        """The rest of what a line says, of which session, round and tokens are right.

        Raises:
            Fault: it is wrong.
        """

    def read(self, text: Text) -> TraceRows:
        """Reads a whole file.

        Raises:
            InputError: a line is wrong.
        """
        sessions: dict[str, int] = {}
        models: dict[str, int] = {}
        columns: list[tuple[int, int, int, int, int]] = []
        told: list[Told] = []
        for number, written in enumerate(text, 1):
            try:
                line = keys_of(written)
                if line is None:
                    message = f"the line is {clipped(written.strip(), 40) or 'empty'}, must be a JSON object"
                    raise Fault(message)
                session = _name(line, self.session)
                turn = whole_of(line, self.turn)
                prompt, output = (tokens_of(line, key) for key in (self.prompt_tokens, self.output_tokens))
                model = _name(line, self.model) if models or (number == 1 and self.model in line) else None
                told.append(self.told(line))
            except Fault as fault:
                raise InputError(str(fault), text.path, number) from fault
            of_model = 0 if model is None else models.setdefault(model, len(models))
            columns.append((sessions.setdefault(session, len(sessions)), turn, prompt, output, of_model))
        rows = _rows(columns, told, tuple(models))
        unknown = np.isnan(rows.arrival_s)
        if unknown.any():
            message = f"{self.arrival} has no timestamp, must have one in the first round of a session"
            raise InputError(message, text.path, int(rows.line[unknown.argmax()]))
        return together(rows, rows.rounds, from_zero=True) if rows.rounds else rows


class TraceLab(SessionLines):
    """TraceLab's traces of coding agents, https://github.com/uw-syfi/TraceLab.

    Keys ``session_id``, ``round_index``, ``model``, ``input_tokens_total`` = ``prefix_tokens`` + ``newly_append_tokens``,
    ``output_tokens``, and ``timing_events``, each with ``event_type`` and ``timestamp``. A round is asked for with the
    last ``user_message`` or ``tool_result`` before the model says anything, and is over with its last event.
    """

    turn = "round_index"
    arrival = "timing_events"
    prompt_tokens = "input_tokens_total"
    output_tokens = "output_tokens"
    unit = "dates with times"

    def told(self, line: Mapping[str, Any]) -> Told:
        prompt, kept, new = (
            tokens_of(line, key) for key in (self.prompt_tokens, "prefix_tokens", "newly_append_tokens")
        )
        if kept + new != prompt:
            message = f"prefix_tokens and newly_append_tokens are {kept} and {new}, must add up to {self.prompt_tokens} ({prompt})"
            raise Fault(message)
        events = _need(line, self.arrival)
        stamps = (
            [event for event in events if isinstance(event, dict) and event.get("timestamp") is not None]
            if isinstance(events, list)
            else []
        )
        begin_s = end_s = nan
        said = False
        for event in stamps:
            at_s = _moment(event["timestamp"])
            said = said or str(event.get("event_type")) not in INPUT_EVENTS
            if isnan(begin_s) or not said:
                begin_s = at_s
            end_s = at_s
        return Told(begin_s, max(begin_s, end_s), nan, kept)


class LMCache(SessionLines):
    """LMCache's agentic traces with tokens counted, as LLMServingSim takes them.

    Keys ``session_id``, ``turn_idx``, ``input_toks`` (whole prompts, each of which begins with the one before and its
    answer), ``output_toks``, ``arrival_time_ns`` (of first rounds), ``intra_session_gap_ns`` and maybe ``model``. The
    traces as published have messages in ``input`` and seconds in ``pre_gap`` instead; text is not counted here.
    """

    turn = "turn_idx"
    arrival = "arrival_time_ns"
    prompt_tokens = "input_toks"
    output_tokens = "output_toks"
    gap = "intra_session_gap_ns"
    unit = "nanoseconds"

    def recognises(self, first_line: str) -> bool:
        """Also as published, for which `read` says what is missing."""
        return SessionLines.recognises(self, first_line) or set(AS_PUBLISHED) <= (keys_of(first_line) or {}).keys()

    def read(self, text: Text) -> TraceRows:
        """Reads a whole file.

        Raises:
            InputError: a line is wrong.
        """
        if not SessionLines.recognises(self, text.line(1)) and self.recognises(text.line(1)):
            *others, last = (self.output_tokens, self.turn, self.arrival, self.gap)
            message = (
                f"input is text, must be {self.prompt_tokens}, its number of tokens, beside {', '.join(others)} and {last}: "
                "text is not counted here"
            )
            raise InputError(message, text.path, 1)
        return SessionLines.read(self, text)

    def told(self, line: Mapping[str, Any]) -> Told:
        arrival_s = _seconds(line, self.arrival, MAX_CLOCK_S)
        return Told(arrival_s, nan, _seconds(line, self.gap, MAX_S), None)


def whole_of(line: Mapping[str, Any], key: str) -> int:
    """A whole number of tokens, or of a round.

    Raises:
        Fault: it is none.
    """
    value = number_of(_need(line, key))
    if not 0 <= value < MAX_TOKENS or value % 1:
        message = f"{key} is {shown(line[key])}, must be a whole number of at least 0, below {MAX_TOKENS:,}"
        raise Fault(message)
    return int(value)


def tokens_of(line: Mapping[str, Any], key: str) -> int:
    """A whole number of tokens, none where it is null.

    Raises:
        Fault: it is something else.
    """
    return 0 if _need(line, key) is None else whole_of(line, key)


def _rows(columns: list[tuple[int, int, int, int, int]], told: list[Told], names: tuple[str, ...]) -> TraceRows:
    """Those of a session together; the arrival of first rounds is on the trace's clock, NaN where it does not say."""
    session, turn, prompt, output, model = np.array(columns, np.int64).T
    begin_s, end_s, think_s = (
        np.array([getattr(each, name) for each in told]) for name in ("begin_s", "end_s", "think_s")
    )
    kept = np.array([MAX_TOKENS if each.kept_tokens is None else each.kept_tokens for each in told], np.int64)
    line = np.arange(session.size, dtype=np.int64) + 1
    order = order_of(session, turn, begin_s)
    rows = TraceRows(begin_s, prompt, output, line, model if names else None, names).take(order)
    size = session.size
    # A round without a time comes with the end of the one before, and the next one counts from there.
    dated = np.maximum.accumulate(np.where(np.isnan(end_s[order]), 0, np.arange(size)))
    by_clock = np.nan_to_num(np.maximum(begin_s[order] - np.roll(end_s[order][dated], 1), 0))
    rounds = Rounds(
        session=session[order],
        think_s=np.minimum(np.where(np.isnan(think_s[order]), by_clock, think_s[order]), MAX_S),
        # The last token of a prompt is always its own.
        kept_tokens=np.clip(kept[order], 0, np.maximum(rows.prompt_tokens - 1, 0)),
        prefix=np.full(size, UNKNOWN, np.int64),
        prefix_tokens=np.zeros(size, np.int64),
    )
    arrival_s = np.where(rounds.opens, rows.arrival_s, 0.0)
    return replace(rows, arrival_s=arrival_s, rounds=rounds)


def _need(line: Mapping[str, Any], key: str) -> Any:
    if key not in line:
        message = f"{key} is missing, must be there; the keys are {clipped_list(line)}"
        raise Fault(message)
    return line[key]


def _name(line: Mapping[str, Any], key: str) -> str:
    found = _need(line, key)
    if not isinstance(found, str) or not found:
        message = f"{key} is {shown(found)}, must be a name"
        raise Fault(message)
    return found


def _seconds(line: Mapping[str, Any], key: str, most_s: float) -> float:
    value = number_of(_need(line, key))
    if not 0 <= value <= most_s * NS_PER_S:
        message = (
            f"{key} is {shown(line[key])}, must be a number of nanoseconds from 0 to {limit_text(most_s * NS_PER_S)}"
        )
        raise Fault(message)
    return value / NS_PER_S


def _moment(value: Any) -> float:
    """Seconds since 1970 of a date and time in ISO 8601, UTC where it names no zone."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        message = f"a timestamp is {shown(value)}, must be a date and time like 2026-05-01T18:15:46.680Z"
        raise Fault(message) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
