"""Who sends a run's requests to its worker: everybody at a recorded time, or the clients of a closed loop."""

from heapq import heapify, heappop, heappush

from sunsim.clock import to_ps
from sunsim.cluster.arrivals import Decoding
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import NEVER
from sunsim.latency.model import LatencyModel
from sunsim.validation.limit import Limit
from sunsim.validation.served import Ints, Served

FREE = -1
"""In the place of a request: a client has the end of one and sends the next."""


class Clients:
    """Says when which request comes to the engine.

    In a closed loop the first requests are sent at their recorded times, and each of the others, in order, when one ends
    at its client and the client's own time has passed.

    Attributes:
        submit_ps: when each request is sent, int64[n]; as recorded until it is.

    Args:
        served: the run's requests; of their times the submissions alone are used.
        times: the front end's, on the way in and out.
        loop: of the closed loop; None if all times are as recorded.
    """

    def __init__(self, served: Served, times: LatencyModel, loop: Limit | None) -> None:
        self.submit_ps: Ints = to_ps(served.submit_s)
        self._prompts = served.prompt_tokens.tolist()
        self._times = times
        self._gap_ps = to_ps(loop.gap_s) if loop else 0
        self._decoding = Decoding() if loop else None
        known = min(loop.concurrency, len(served)) if loop else len(served)
        self._later = iter(range(known, len(served)))
        self._due = [(self._through_ps(i), i) for i in range(known)]
        heapify(self._due)

    @property
    def next_ps(self) -> int:
        """When something happens here next, if no request ends before."""
        return self._due[0][0] if self._due else NEVER

    def take(self) -> int | None:
        """What happens next: the request that the front end is through with; None if it is none."""
        now_ps, i = heappop(self._due)
        if i != FREE:
            return i
        if (later := next(self._later, None)) is not None:
            self.submit_ps[later] = now_ps
            heappush(self._due, (self._through_ps(later), later))
        return None

    def note(self, now_ps: int, outcome: Outcome) -> None:
        """The engine has taken a decision."""
        if self._decoding:
            for _, out_ps in self._decoding.note(now_ps, outcome, self._times.out_ps):
                heappush(self._due, (now_ps + out_ps + self._gap_ps, FREE))

    def _through_ps(self, i: int) -> int:
        return int(self.submit_ps[i]) + self._times.frontend_in_ps(self._prompts[i])
