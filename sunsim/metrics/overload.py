"""Whether a queue still grows when measuring ends."""

import numpy as np

from sunsim.metrics.intervals import overlap_s
from sunsim.metrics.rows import Floats, Requests, Window

QUARTERS = 4
FEWEST_EXTRA = 5.0


def decode_wait_in_tpot(requests: Requests) -> bool:
    """Whether first tokens come from prefill, so that the wait for decode is part of TPOT and not of TTFT."""
    return bool((requests.first_token_s < requests.decode_first_token_s).any())


def backlog_quarters(requests: Requests, window: Window) -> Floats:
    """Mean number of requests that wait for their first token, or for decode's, in each quarter of the window.

    Where prefill emits the first token, decode's queue shows only in its own first one. What finished without one
    waits no longer than for the token it got.
    """
    both_s = np.maximum(requests.first_token_s, requests.decode_first_token_s)
    no_decode = np.isnan(requests.decode_first_token_s) & requests.finished
    served_s = np.where(no_decode, requests.first_token_s, both_s)
    quarters = window.parts(QUARTERS)
    return np.array([overlap_s(requests.arrival_s, served_s, part).sum() / part.length_s for part in quarters])


def overloaded(requests: Requests, window: Window) -> bool:
    """Whether more arrives than gets its first token (of decode), up to the end of the window.

    The backlog's mean must grow into the last quarter and from the first half to the second, and the last quarter
    must exceed the first by a second's worth of arrivals, by what chance alone would add to a queue that is
    just full (the square root of the arrivals), and by a handful of requests. What admission refused waits for nothing.
    """
    requests = requests.taken
    arrived = int(window.holds(requests.arrival_s).sum())
    if not window.length_s or not arrived:
        return False
    first, second, third, last = backlog_quarters(requests, window)
    enough = max(arrived / window.length_s, np.sqrt(arrived), FEWEST_EXTRA)
    growing = last > third and third + last > first + second
    return bool(growing and last - first >= enough)
