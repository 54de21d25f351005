"""The requests' ways through the cluster, and the table of all of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunsim.clock import to_s
from sunsim.cluster.batch_at import batch_at
from sunsim.cluster.drafted import Drafted
from sunsim.cluster.sequence import NEVER, UNSET, Sequence
from sunsim.records import REQUEST_COLUMNS
from sunsim.workload.requests import Requests

OUTCOMES = ("finished", "unfinished", "shed")


class Journeys:
    """All requests' ways through the cluster, in columns; times in picoseconds, `UNSET` until they happen.

    Attributes:
        prefill, decode: each request as its workers see it, the last time through prefill; None before and after.
        prefill_worker, decode_worker: slots in the stage's pool; in prefill that of the first time through.
        source: slot of the prefill worker that its KV is pulled from.
        preemptions: of sequences that have ended.
        shed: whether a request was refused when it came; None where every one is taken.
        drafted: what was drafted for requests; None where nothing is.
    """

    def __init__(self, number: int) -> None:
        self.prefill: list[Sequence | None] = [None] * number
        self.decode: list[Sequence | None] = [None] * number
        self.prefill_worker = array("i", [UNSET]) * number
        self.source = array("i", [UNSET]) * number
        self.decode_worker = array("i", [UNSET]) * number
        self.prefill_start_ps = array("q", [UNSET]) * number
        self.prefill_end_ps = array("q", [UNSET]) * number
        self.transfer_start_ps = array("q", [UNSET]) * number
        self.transfer_end_ps = array("q", [UNSET]) * number
        self.scheduled_ps = array("q", [UNSET]) * number
        self.first_ps = array("q", [UNSET]) * number
        self.last_ps = array("q", [UNSET]) * number
        self.preemptions = array("q", [0]) * number
        self.shed: bytearray | None = None
        self.drafted: Drafted | None = None

    def note_prefill(self, sequence: Sequence) -> None:
        """Notes what has happened to a request in prefill, for the first time there."""
        self.prefill_start_ps[sequence.request] = sequence.started_ps
        self.prefill_end_ps[sequence.request] = sequence.last_ps

    def note_decode(self, sequence: Sequence) -> None:
        """Notes what has happened to a request in decode, and forgets the request as its worker sees it."""
        i = sequence.request
        self.decode[i] = None
        self.scheduled_ps[i] = sequence.scheduled_ps
        self.first_ps[i] = sequence.first_ps
        self.last_ps[i] = sequence.last_ps
        if sequence.preemptions:
            self.preemptions[i] += sequence.preemptions
        if self.drafted:
            self.drafted.note(sequence)

    def note_the_rest(self) -> None:
        """Notes what has happened to those that are under way at the end."""
        for i, sequence in enumerate(self.prefill if any(self.prefill) else ()):
            if sequence and self.prefill_start_ps[i] == UNSET:
                self.prefill_start_ps[i] = sequence.started_ps
        for sequence in filter(None, self.decode):
            self.note_decode(sequence)


@dataclass(frozen=True, slots=True)
class Course:
    """What an arm's requests pass, and when their tokens reach the client.

    Attributes:
        has_decode: False when a request ends with its prefill.
        emitted_before_decode: output tokens, 0 or 1, that prefill emits, but not of requests that are `local`.
        prefill_out_ps: from the prefill stage's engine to the client.
        decode_out_ps: the same for the decode stage, for workers that decode so many requests.
        local: which requests' prompts a decode worker computes though others prefill, bool[n]; None: no request's.
    """

    has_decode: bool
    emitted_before_decode: int
    prefill_out_ps: int
    decode_out_ps: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    local: NDArray[np.bool_] | None = None

    def emitted(self, output_tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        """Of each request's output tokens, those that come from prefill."""
        if not self.has_decode:
            return output_tokens
        emitted = np.full_like(output_tokens, self.emitted_before_decode)
        if self.local is not None:
            emitted[self.local] = 0
        return emitted


def request_rows(
    arm: str,
    requests: Requests,
    came: slice | NDArray[np.intp],
    journeys: Journeys,
    names: tuple[list[str], list[str]],
    course: Course,
    limit_ps: int | None,
) -> pd.DataFrame:
    """A row a request that has come, with `records.REQUEST_COLUMNS`.

    ``first_token_s`` and ``last_token_s`` are the client's, all other times after the arrival the engines'. What lies
    beyond `limit_ps`, the end of the run, has not happened.

    Args:
        came: which of them.
        names: of the prefill workers and of the decode workers, by slot.
    """

    def seconds(stamps: array[int], later_ps: int | NDArray[np.int64] = 0) -> NDArray[np.float64]:
        ps = _int64(stamps)[came]
        happened = ps != UNSET
        ps = ps + later_ps
        if limit_ps is not None:
            happened &= ps < limit_ps
        return np.where(happened, to_s(ps), np.nan)

    by_prefill = seconds(journeys.prefill_end_ps, course.prefill_out_ps)
    first_out_ps, last_out_ps = _ways_out(journeys, came, course)
    first, last = seconds(journeys.first_ps, first_out_ps), seconds(journeys.last_ps, last_out_ps)
    output_tokens = requests.output_tokens[came]
    emitted = course.emitted(requests.output_tokens)[came]
    first = np.where(emitted > 0, by_prefill, first)
    last = np.where(output_tokens > emitted, last, by_prefill)
    arrival_s = to_s(requests.arrival_ps[came])
    outcome = np.isnan(last).astype(np.int32)
    if journeys.shed is not None:
        outcome[np.frombuffer(journeys.shed, dtype=np.bool_)[came]] = OUTCOMES.index("shed")
    columns = {
        "arm": _text((arm,), np.zeros(arrival_s.size, dtype=np.int32)),
        "request_id": np.arange(len(requests))[came],
        "model": _text(requests.models, requests.model[came]),
        "arrival_s": arrival_s,
        "prompt_tokens": requests.prompt_tokens[came],
        "output_tokens": output_tokens,
        "prefill_worker": _text(names[0], _int32(journeys.prefill_worker)[came]),
        "decode_worker": _text(names[1], _int32(journeys.decode_worker)[came]),
        "prefill_start_s": seconds(journeys.prefill_start_ps),
        "prefill_end_s": seconds(journeys.prefill_end_ps),
        "transfer_start_s": seconds(journeys.transfer_start_ps),
        "transfer_end_s": seconds(journeys.transfer_end_ps),
        "decode_scheduled_s": seconds(journeys.scheduled_ps),
        "decode_first_token_s": seconds(journeys.first_ps),
        "first_token_s": first,
        "last_token_s": last,
        "preemptions": _int64(journeys.preemptions)[came],
        "outcome": _text(OUTCOMES[:2] if journeys.shed is None else OUTCOMES, outcome),
    }
    return pd.DataFrame({column.name: columns[column.name] for column in REQUEST_COLUMNS}, copy=False)


def _ways_out(
    journeys: Journeys, came: slice | NDArray[np.intp], course: Course
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From each request's first token of decode and from its last to the client."""
    worker = _int32(journeys.decode_worker)[came].astype(np.int64)
    stamps = (journeys.scheduled_ps, journeys.first_ps, journeys.last_ps)
    scheduled, first, last = (_int64(column)[came] for column in stamps)
    begin, end = (np.where(stamps == UNSET, NEVER, stamps) for stamps in (scheduled, last))
    first_out, last_out = (course.decode_out_ps(batch_at(worker, begin, end, at)) for at in (first, last))
    # Tokens of a request stay in order, however much the batch has shrunk meanwhile.
    return first_out, np.maximum(last_out, first + first_out - last)


def _int64(column: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(column, dtype=np.int64)


def _int32(column: array[int]) -> NDArray[np.int32]:
    return np.frombuffer(column, dtype=np.int32)


def _text(texts: list[str] | tuple[str, ...], which: NDArray[np.int32]) -> pd.Categorical[str]:
    """For each number the text of that number; missing for `UNSET`."""
    return pd.Categorical.from_codes(which, pd.Index(texts, dtype="str"))
