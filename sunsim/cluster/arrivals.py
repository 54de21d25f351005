"""Where the requests of a world come from: a stream whose times are known beforehand, or clients that wait for an end.

Either of a closed loop, or of sessions, which begin with a stream.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event

from sunsim.clock import END_PS
from sunsim.cluster.events import ARRIVAL, Alarm, Clock
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import UNKNOWN, Sessions


class Stream:
    """Calls `arrive` with each number at its moment; `pairs` of a moment and a number come in rising order."""

    def __init__(self, env: Clock, pairs: Iterator[tuple[int, int]], arrive: Callable[[int], None]) -> None:
        self._pairs = pairs
        self._arrive = arrive
        self._which = UNSET
        self._alarm = Alarm(env, ARRIVAL, self._next)
        self._next()

    def _next(self) -> None:
        if self._which != UNSET:
            self._arrive(self._which)
        at_ps, self._which = next(self._pairs, (None, UNSET))
        self._alarm.set(at_ps)


class ClosedLoop:
    """Clients that each send the next request there is as soon as they have the last token of the one before.

    Attributes:
        arrival_ps: int64[n], of the `sent` first requests so far.
    """

    def __init__(
        self, env: Clock, requests: Requests, frontend_in_ps: Callable[[int], int], arrive: Callable[[int], None]
    ) -> None:
        self._env = env
        self._prompts = requests.prompt_tokens.data
        self._frontend_in_ps = frontend_in_ps
        self._arrive = arrive
        self._numbers = iter(range(len(requests)))
        self._ends: dict[int, Event] = {}
        self.arrival_ps = np.zeros(len(requests), dtype=np.int64)
        self.sent = 0
        for _ in range(min(requests.concurrency or 0, len(requests))):
            env.process(self._client())

    def serve(self, i: int) -> Generator[Event, int]:
        """The part of a client's process that sends a request now and lasts until the last token is there."""
        self.arrival_ps[i] = self._env.now_ps
        self.sent += 1
        # A picosecond at least: what an end brings comes when all else that was due with the end has happened.
        yield self._env.timeout(max(1, self._frontend_in_ps(self._prompts[i])))
        self._ends[i] = end = self._env.event()
        self._arrive(i)
        out_ps = yield end
        yield self._env.timeout(out_ps)

    def ended(self, i: int, out_ps: int) -> None:
        """A request's last token is out of its engine now, and at its client after `out_ps`."""
        self._ends.pop(i).succeed(out_ps)

    def shed(self, i: int) -> None:
        """A request has been refused: the client sends its next one at once."""
        self.ended(i, 0)

    def came(self, _limit_ps: int | None) -> slice:
        """Which requests have come."""
        return slice(self.sent)

    def _client(self) -> Generator[Event, int]:
        for i in self._numbers:
            yield from self.serve(i)


class LaterRounds:
    """Clients that send the next round of their session when they have thought about the last token of the one before.

    Attributes:
        arrival_ps: int64[n]; of a later round it is known when the one before has ended.
    """

    def __init__(
        self,
        env: Clock,
        requests: Requests,
        sessions: Sessions,
        frontend_in_ps: Callable[[int], int],
        arrive: Callable[[int], None],
    ) -> None:
        self._env = env
        self._prompts = requests.prompt_tokens.data
        self._think_ps = sessions.think_ps.data
        self._frontend_in_ps = frontend_in_ps
        self._arrive = arrive
        self._following: defaultdict[int, list[int]] = defaultdict(list)
        for i, previous in enumerate(sessions.previous.tolist()):
            if previous != UNKNOWN:
                self._following[previous].append(i)
        self.arrival_ps = requests.arrival_ps.copy()
        self._begins = sessions.previous == UNKNOWN
        self._follows = np.zeros(len(requests), dtype=np.bool_)

    def ended(self, i: int, out_ps: int) -> None:
        """A request's last token is out of its engine now, and at its client after `out_ps`."""
        for follower in self._following.pop(i, ()):
            arrival_ps = self._env.now_ps + out_ps + self._think_ps[follower]
            # What is later than the clock goes may be later than 64 bits go.
            self.arrival_ps[follower] = min(arrival_ps, END_PS)
            self._follows[follower] = True
            # A picosecond at least, as in a closed loop.
            through_ps = arrival_ps + max(1, self._frontend_in_ps(self._prompts[follower]))
            Alarm(self._env, ARRIVAL, partial(self._arrive, follower)).set(through_ps)

    def shed(self, i: int) -> None:
        """A request has been refused: its session's later rounds do not come."""

    def came(self, limit_ps: int | None) -> NDArray[np.intp]:
        """The first rounds, and the later ones that have come before the end of the run."""
        follows = self._follows if limit_ps is None else self._follows & (self.arrival_ps < limit_ps)
        return np.flatnonzero(self._begins | follows)


class Decoding:
    """How many requests a worker decodes, now and before; what `batch_at` says of a whole run, while it goes on.

    Args:
        out_ps: from the worker's engine to the client, for workers that decode so many requests.
    """

    def __init__(self, out_ps: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> None:
        self._out_ps = out_ps
        self._begun_ps: list[int] = []
        self._ended_ps: list[int] = []
        self._ended: list[Sequence] = []

    def note(self, now_ps: int, outcome: Outcome) -> None:
        """Takes down a decision."""
        self._begun_ps += [now_ps] * len(outcome.entered)
        self._ended_ps += [now_ps] * len(outcome.finished)
        self._ended += outcome.finished

    def take_ended(self, now_ps: int) -> list[tuple[int, int]]:
        """The requests that have ended now, and how long their last tokens take to the client.

        As `sunsim.cluster.journey.request_rows` will have it of the whole run. To be asked when all decisions of this
        moment are noted: with nothing in flight a worker that needs no time to launch a step takes two.
        """
        ends = []
        for sequence in self._ended:
            at_ps = np.array([self.at(sequence.first_ps), self.at(now_ps)])
            first_out_ps, last_out_ps = self._out_ps(at_ps).tolist()
            ends.append((sequence.request, max(last_out_ps, sequence.first_ps + first_out_ps - now_ps)))
        self._ended = []
        return ends

    def at(self, at_ps: int) -> int:
        """Requests that had begun and not ended before a moment up to now."""
        return bisect_right(self._begun_ps, at_ps) - bisect_left(self._ended_ps, at_ps)


def begin_arrivals(
    env: Clock, requests: Requests, frontend_in_ps: Callable[[int], int], arrive: Callable[[int], None]
) -> ClosedLoop | LaterRounds | None:
    """Has requests arrive; gives who is to hear of their ends, if somebody waits for one.

    Args:
        frontend_in_ps: how long the front end of the first stage takes for so many prompt tokens.
        arrive: called with a request's number when it is through there.
    """
    if requests.concurrency:
        return ClosedLoop(env, requests, frontend_in_ps, arrive)
    Stream(env, _known_arrivals(requests, frontend_in_ps), arrive)
    if requests.sessions and requests.sessions.react:
        return LaterRounds(env, requests, requests.sessions, frontend_in_ps, arrive)
    return None


def _known_arrivals(requests: Requests, frontend_in_ps: Callable[[int], int]) -> Iterator[tuple[int, int]]:
    """When the front end is through with a request, and which one, in order."""
    prompts, which = np.unique(requests.prompt_tokens, return_inverse=True)
    frontend_ps = np.array([frontend_in_ps(prompt) for prompt in prompts.tolist()], dtype=np.int64)
    through_ps = requests.arrival_ps + frontend_ps[which]
    order = np.argsort(through_ps, kind="stable")
    if sessions := requests.sessions:
        order = order[sessions.previous[order] == UNKNOWN]
    return zip(through_ps[order].data, order.data, strict=True)
