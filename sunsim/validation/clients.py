"""Who sends a run's requests to its worker: everybody at a recorded time, clients of a closed loop, or users who think."""

from heapq import heapify, heappop, heappush

from sunsim.clock import to_ps
from sunsim.cluster.arrivals import Decoding
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import NEVER
from sunsim.latency.model import LatencyModel
from sunsim.validation.limit import Limit
from sunsim.validation.served import Ints, Served
from sunsim.workload.sessions import UNKNOWN, Sessions

FREE = -1
"""In the place of a request: a client has the end of one and sends the next."""
ENDED = -2
"""In the place of a request: all decisions of the moment before are known, and some of them ended requests."""


class Clients:
    """Says when which request comes to the engine.

    In a closed loop the first requests are sent at their recorded times, and each of the others, in order, when one ends
    at its client and the client's own time has passed. In a session the first round is sent at its recorded time, and each
    of the others when the one before it has ended at its client and the user has thought.

    Attributes:
        submit_ps: when each request is sent, int64[n]; as recorded until it is.

    Args:
        served: the run's requests; of their times the submissions alone are used.
        times: the front end's, on the way in and out.
        loop: of the closed loop; None if there is none.
        sessions: of the requests; None if there are none.
    """

    def __init__(self, served: Served, times: LatencyModel, loop: Limit | None, sessions: Sessions | None) -> None:
        self.submit_ps: Ints = to_ps(served.submit_s)
        self._prompts = served.prompt_tokens.tolist()
        self._times = times
        self._gap_ps = to_ps(loop.gap_s) if loop else 0
        self._decoding = Decoding(times.out_ps) if loop or sessions else None
        known = min(loop.concurrency, len(served)) if loop else len(served)
        self._later = iter(range(known, len(served)))
        self._next_round = _next_rounds(sessions) if sessions else {}
        follows = {i for i, _ in self._next_round.values()}
        self._due = [(self._through_ps(i), i) for i in range(known) if i not in follows]
        heapify(self._due)

    @property
    def next_ps(self) -> int:
        """When something happens here next, if no request ends before."""
        return self._due[0][0] if self._due else NEVER

    def take(self) -> int | None:
        """What happens next: the request that the front end is through with; None if it is none."""
        now_ps, i = heappop(self._due)
        if i == ENDED:
            self._take_ended(now_ps - 1)
            return None
        if i != FREE:
            return i
        if (later := next(self._later, None)) is not None:
            self.submit_ps[later] = now_ps
            heappush(self._due, (self._through_ps(later), later))
        return None

    def note(self, now_ps: int, outcome: Outcome) -> None:
        """The engine has taken a decision."""
        if not self._decoding:
            return
        self._decoding.note(now_ps, outcome)
        if outcome.finished:
            heappush(self._due, (now_ps + 1, ENDED))

    def _take_ended(self, now_ps: int) -> None:
        assert self._decoding
        for request, out_ps in self._decoding.take_ended(now_ps):
            if self._next_round:
                self._follow(request, now_ps + out_ps)
            else:
                heappush(self._due, (now_ps + out_ps + self._gap_ps, FREE))

    def _follow(self, request: int, ended_ps: int) -> None:
        """The next round of a request's session, if there is one, comes when its user has thought."""
        if request in self._next_round:
            i, think_ps = self._next_round[request]
            self.submit_ps[i] = ended_ps + think_ps
            heappush(self._due, (self._through_ps(i), i))

    def _through_ps(self, i: int) -> int:
        return int(self.submit_ps[i]) + self._times.frontend_in_ps(self._prompts[i])


def _next_rounds(sessions: Sessions) -> dict[int, tuple[int, int]]:
    """The request that follows each that is followed, and the time to think before it."""
    pairs = zip(sessions.previous.tolist(), sessions.think_ps.tolist(), strict=True)
    return {before: (i, think_ps) for i, (before, think_ps) in enumerate(pairs) if before != UNKNOWN}
