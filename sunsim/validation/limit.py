"""A client's `--max-concurrency`: whether it held requests back, and so had the server's own speed set their times.

vllm/benchmarks/serve.py (0.24) has a request wait, in order, until fewer than so many are under way, and stamps its start
after that. Asked for all at once (`--request-rate inf`) the requests come from a closed loop.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sunsim.errors import InputError
from sunsim.metrics.rows import Floats
from sunsim.validation.served import Served
from sunsim.workload.traces.text import Text

MOSTLY = 0.5
"""Share of the time in which all places must be taken for a loop to be closed: less where a ramp-up asks for requests."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How many requests a client had under way at most.

    Attributes:
        concurrency: the limit.
        full: share of the time from the first start to the last in which so many were under way.
        gap_s: the client's own time from an end to the start that waited for it, median; 0 where none waited.
        closed: whether all was asked for at once and the limit bound most of the time.
    """

    concurrency: int
    full: float
    gap_s: float
    closed: bool


def limit_of(result: dict[str, Any], served: Served, text: Text) -> Limit | None:
    """The limit that a result states; None without one.

    Args:
        result: the JSON object.
        served: its requests, by the client's stamps.
        text: the file, for messages.

    Raises:
        InputError: what stands there is no limit.
    """
    most = result.get("max_concurrency")
    if most is None:
        return None
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        message = "max_concurrency is no number of requests, must be a whole number from 1, or null"
        raise InputError(message, text.path)
    start_s, end_s = served.submit_s, np.sort(served.client_last_token_s)
    at_once = result.get("request_rate") in ("inf", float("inf"))
    waits_s = start_s[most:] - end_s[: len(start_s[most:])]
    # To the nanosecond: a clock of seconds since the client's machine was started tells no more.
    gap_s = max(0.0, round(float(np.median(waits_s)), 9)) if len(waits_s) else 0.0
    full = _full(start_s, end_s, most)
    return Limit(most, full, gap_s, at_once and full > MOSTLY)


def _full(start_s: Floats, end_s: Floats, most: int) -> float:
    """Share of the time between first and last of the starts in which at least `most` requests were under way.

    Between the ends k and k + 1 so many are from the start of request k + `most` on.
    """
    filled_s = start_s[most - 1 :]
    lasts_s = start_s[-1] - start_s[0]
    if not lasts_s or not len(filled_s):
        return 0.0
    before_s = np.concatenate([[-np.inf], end_s])[: len(filled_s)]
    until_s = np.minimum(end_s[: len(filled_s)], start_s[-1])
    return float(np.maximum(until_s - np.maximum(filled_s, before_s), 0.0).sum() / lasts_s)
