"""A request's way through the cluster, and the table of all of them."""

from __future__ import annotations

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


def request_rows(
    arm: str,
    requests: Requests,
    journeys: list[Journey],
    limit_ps: int | None,
    *,
    has_decode: bool,
    emitted_before_decode: int,
) -> pd.DataFrame:
    """The columns of the results contract, in its order.

    Args:
        limit_ps: end of the run; what lies beyond it has not happened.
        has_decode: False when a request ends with its prefill.
        emitted_before_decode: output tokens, 0 or 1, that prefill emits.
    """

    def seconds(stamp: Callable[[Journey], int]) -> np.ndarray[Any, np.dtype[np.float64]]:
        ps = np.fromiter(map(stamp, journeys), dtype=np.int64, count=len(journeys))
        happened = ps != UNSET
        if limit_ps is not None:
            happened &= ps < limit_ps
        return np.where(happened, to_s(ps), np.nan)

    prefill_end = seconds(lambda j: j.prefill_end_ps)
    decode_first = seconds(lambda j: j.decode.first_ps if j.decode else UNSET)
    decode_last = seconds(lambda j: j.decode.last_ps if j.decode else UNSET)
    first_by_prefill = bool(emitted_before_decode) or not has_decode
    decodes = has_decode & (requests.output_tokens > emitted_before_decode)
    last = np.where(decodes, decode_last, prefill_end)
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
            "prefill_start_s": seconds(lambda j: j.prefill_start_ps),
            "prefill_end_s": prefill_end,
            "transfer_start_s": seconds(lambda j: j.transfer_start_ps),
            "transfer_end_s": seconds(lambda j: j.transfer_end_ps),
            "decode_scheduled_s": seconds(lambda j: j.decode.scheduled_ps if j.decode else UNSET),
            "decode_first_token_s": decode_first,
            "first_token_s": prefill_end if first_by_prefill else decode_first,
            "last_token_s": last,
            "preemptions": [j.preemptions + (j.decode.preemptions if j.decode else 0) for j in journeys],
            "outcome": np.where(np.isnan(last), "unfinished", "finished").astype(object),
        }
    )
