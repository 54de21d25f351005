"""KV transfers between workers: each worker has one link in each direction, which its transfers share equally."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial, reduce
from heapq import heappop, heappush
from math import ceil
from operator import sub
from typing import TypeAlias

from sunsim.cluster.events import TRANSFER, Alarm, Clock
from sunsim.latency.transfer import LinkTimes

LOGGED = 1024

_Transfer: TypeAlias = "tuple[float, int, float, int, Callable[[], None]]"
"""What orders it among those of its pair: roughly, and by number of start; the time that it has left alone on the link,
without what the pair's log has from some index on; whom to tell of its end."""


class _Port:
    """One direction of one worker's link.

    Attributes:
        transfers: how many are on it.
        pairs: the workers between which they are, in the order in which they came to have any.
    """

    __slots__ = ("pairs", "transfers")

    def __init__(self) -> None:
        self.transfers = 0
        self.pairs: dict[_Pair, None] = {}


class _Pair:
    """The transfers from one worker to another. They have one pace, so the one with the least left ends first.

    When the pace changes only that one is looked at; what the stretch before has moved is noted for all others.
    """

    __slots__ = ("_left_ps", "_moved_ps", "_moving", "_passed_ps", "_share", "_since_ps", "alarm", "into", "out")

    def __init__(self, out: _Port, into: _Port) -> None:
        self.out = out
        self.into = into
        self.alarm: Alarm
        self._moving: list[_Transfer] = []  # a heap
        self._left_ps = 0.0  # of the first in the heap, as of `_since_ps`
        self._share = 0  # how many share the tighter end since then; 0 before the first
        self._since_ps = 0
        self._moved_ps: list[float] = []  # what each stretch of one pace took off every transfer's time
        self._passed_ps = 0.0  # the sum of all that was ever noted there, rounded

    def pace(self, now_ps: int) -> None:
        """Sets the pace that the number of transfers at both ends allows from now on, and the alarm."""
        share = max(self.out.transfers, self.into.transfers)
        if share == self._share:
            return
        if self._share:
            moved_ps = (now_ps - self._since_ps) / self._share
            self._left_ps = max(0.0, self._left_ps - moved_ps)
            self._passed_ps += moved_ps
            self._moved_ps.append(moved_ps)
            if len(self._moved_ps) == LOGGED:
                self._moving = [(*of[:2], self._left(of), 0, of[4]) for of in self._moving]
                self._moved_ps.clear()
        self._since_ps = now_ps
        self._share = share
        self._set_alarm()

    def add(self, number: int, alone_ps: float, done: Callable[[], None]) -> None:
        """One more begins at the moment that `pace` was last told."""
        heappush(self._moving, (self._passed_ps + alone_ps, number, alone_ps, len(self._moved_ps), done))
        if self._moving[0][1] == number:
            self._left_ps = alone_ps
            self._set_alarm()

    def end(self) -> Callable[[], None]:
        """The first has ended, before `pace` is told; gives whom to tell."""
        done = heappop(self._moving)[4]
        if self._moving:
            self._left_ps = self._left(self._moving[0])
        else:
            self._share = 0
            self._moved_ps.clear()
            self._passed_ps = 0.0
        return done

    @property
    def idle(self) -> bool:
        """Whether there is no transfer."""
        return not self._moving

    def _left(self, transfer: _Transfer) -> float:
        """What it has left as of `_since_ps`, from one stretch to the next, as if it had been looked at after each."""
        return max(0.0, reduce(sub, self._moved_ps[transfer[3] :], transfer[2]))

    def _set_alarm(self) -> None:
        if self._moving:
            self.alarm.set(self._since_ps + ceil(self._left_ps * self._share))


class KVLink:
    """Moves KV caches. A transfer waits for the latency, then runs at the smaller of its shares at both ends.

    With n transfers at its source and m at its target it takes ``max(n, m)`` times as long as alone. Both ends are shared equally,
    whoever cannot use its part; that is at most a little slower than max-min fairness.
    """

    def __init__(self, env: Clock, times: LinkTimes) -> None:
        self._env = env
        self._times = times
        self._out: defaultdict[str, _Port] = defaultdict(_Port)
        self._in: defaultdict[str, _Port] = defaultdict(_Port)
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._started = 0

    def start(self, source: str, target: str, num_bytes: int, done: Callable[[], None], after_ps: int = 0) -> None:
        """Starts a transfer between the workers of these names; `done` is called when the last byte is there.

        Args:
            after_ps: from now until it is posted.
        """
        pair = self._pairs.get((source, target)) or self._new_pair(source, target)
        alone_ps = self._times.moves_ps(num_bytes)
        if wait_ps := after_ps + self._times.latency_ps:
            self._env.after(wait_ps, partial(self._enter, pair, alone_ps, done))
        else:
            self._enter(pair, alone_ps, done)

    def _new_pair(self, source: str, target: str) -> _Pair:
        pair = _Pair(self._out[source], self._in[target])
        pair.alarm = Alarm(self._env, TRANSFER, partial(self._leave, pair))
        self._pairs[source, target] = pair
        return pair

    def _enter(self, pair: _Pair, alone_ps: float, done: Callable[[], None]) -> None:
        for port in (pair.out, pair.into):
            port.transfers += 1
            port.pairs[pair] = None
        self._share_out(pair)
        self._started += 1
        pair.add(self._started, alone_ps, done)

    def _leave(self, pair: _Pair) -> None:
        done = pair.end()
        for port in (pair.out, pair.into):
            port.transfers -= 1
            if pair.idle:
                del port.pairs[pair]
        self._share_out(pair)
        done()

    def _share_out(self, changed: _Pair) -> None:
        """Sets the pace of all that share an end with `changed`."""
        for port in (changed.out, changed.into):
            for pair in port.pairs:
                pair.pace(self._env.now_ps)
