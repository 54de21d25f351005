"""A request's way through the cluster, and the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sunsim.clock import to_s
from sunsim.cluster.sequence import UNSET, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from sunsim.cluster.worker import Worker
    from sunsim.workload.requests import Requests


class Journey:
    """One request's way through the cluster; times in picoseconds, `UNSET` until they happen."""

    __slots__ = (
        "decode",
        "decode_worker",
        "preemptions",
        "prefill",
        "prefill_end_ps",
        "prefill_start_ps",
        "prefill_worker",
        "source",
        "transfer_end_ps",
        "transfer_start_ps",
    )

    def __init__(self) -> None:
        self.prefill: Sequence | None = None  # the last time through
        self.prefill_worker: Worker | None = None  # the first time through
        self.source: Worker | None = None  # where its KV is pulled from
        self.decode: Sequence | None = None
        self.decode_worker: Worker | None = None
        self.prefill_start_ps = UNSET
        self.prefill_end_ps = UNSET
        self.transfer_start_ps = UNSET
        self.transfer_end_ps = UNSET
        self.preemptions = 0  # on prefill workers


@dataclass(frozen=True, slots=True)
class Course:
    """What an arm's requests pass, and when their tokens reach the client.

    Attributes:
        has_decode: False when a request ends with its prefill.
        emitted_before_decode: output tokens, 0 or 1, that prefill emits.
        prefill_out_ps, decode_out_ps: from a stage's engine to the client.
    """

    has_decode: bool
    emitted_before_decode: int
    prefill_out_ps: int
    decode_out_ps: int


def request_rows(
    arm: str, requests: Requests, journeys: list[Journey], course: Course, limit_ps: int | None
) -> pd.DataFrame:
    """The columns of the results contract, in its order.

    ``first_token_s`` and ``last_token_s`` are the client's, all other times after the arrival the engines'. What lies
    beyond `limit_ps`, the end of the run, has not happened.
    """

    def seconds(stamp: Callable[[Journey], int], later_ps: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
        ps = np.fromiter(map(stamp, journeys), dtype=np.int64, count=len(journeys))
        happened = ps != UNSET
        ps += later_ps
        if limit_ps is not None:
            happened &= ps < limit_ps
        return np.where(happened, to_s(ps), np.nan)

    def prefill_start(journey: Journey) -> int:
        under_way = journey.prefill_start_ps == UNSET and journey.prefill
        return under_way.started_ps if under_way else journey.prefill_start_ps

    def decode_first(journey: Journey) -> int:
        return journey.decode.first_ps if journey.decode else UNSET

    def decode_last(journey: Journey) -> int:
        return journey.decode.last_ps if journey.decode else UNSET

    def prefill_end(journey: Journey) -> int:
        return journey.prefill_end_ps

    by_prefill = seconds(prefill_end, course.prefill_out_ps)
    first = seconds(decode_first, course.decode_out_ps)
    if course.emitted_before_decode or not course.has_decode:
        first = by_prefill
    decodes = course.has_decode & (requests.output_tokens > course.emitted_before_decode)
    last = np.where(decodes, seconds(decode_last, course.decode_out_ps), by_prefill)
    names = np.array(requests.models, dtype=object)
    return pd.DataFrame(
        {
            "arm": np.full(len(journeys), arm, dtype=object),
            "request_id": np.arange(len(journeys)),
            "model": names[requests.model],
            "arrival_s": to_s(requests.arrival_ps),
            "prompt_tokens": requests.prompt_tokens,
            "output_tokens": requests.output_tokens,
            "prefill_worker": [j.prefill_worker.name if j.prefill_worker else None for j in journeys],
            "decode_worker": [j.decode_worker.name if j.decode_worker else None for j in journeys],
            "prefill_start_s": seconds(prefill_start),
            "prefill_end_s": seconds(prefill_end),
            "transfer_start_s": seconds(lambda j: j.transfer_start_ps),
            "transfer_end_s": seconds(lambda j: j.transfer_end_ps),
            "decode_scheduled_s": seconds(lambda j: j.decode.scheduled_ps if j.decode else UNSET),
            "decode_first_token_s": seconds(decode_first),
            "first_token_s": first,
            "last_token_s": last,
            "preemptions": [j.preemptions + (j.decode.preemptions if j.decode else 0) for j in journeys],
            "outcome": np.where(np.isnan(last), "unfinished", "finished").astype(object),
        }
    )
