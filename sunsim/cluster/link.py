"""KV transfers between workers: each worker has one link in each direction, which its transfers share equally."""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING, TypeAlias

from sunsim.cluster.events import TRANSFER, Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from sunsim.cluster.events import Clock
    from sunsim.latency.transfer import LinkTimes

_Port: TypeAlias = "dict[_Transfer, None]"
"""The transfers on one direction of one worker's link, in the order of their start."""


class _Transfer:
    """One KV cache on its way.

    Attributes:
        out, into: all transfers that share its source's and its target's link, this one included.
        left_ps: time that the rest takes alone on the link, as of `since_ps`.
        share: how many it has to share the tighter end with.
    """

    __slots__ = ("alarm", "done", "into", "left_ps", "out", "share", "since_ps")

    def __init__(self, out: _Port, into: _Port, alone_ps: float, done: Callable[[], None]) -> None:
        self.out = out
        self.into = into
        self.left_ps = alone_ps
        self.since_ps = 0
        self.share = 0
        self.done = done
        self.alarm: Alarm


class KVLink:
    """Moves KV caches. A transfer waits for the latency, then runs at the smaller of its shares at both ends.

    With n transfers at its source and m at its target it takes ``max(n, m)`` times as long as alone. Both ends are shared equally,
    whoever cannot use its part; that is at most a little slower than max-min fairness.
    """

    def __init__(self, env: Clock, times: LinkTimes) -> None:
        self._env = env
        self._times = times
        self._out: defaultdict[str, _Port] = defaultdict(dict)
        self._in: defaultdict[str, _Port] = defaultdict(dict)

    def start(self, source: str, target: str, num_bytes: int, done: Callable[[], None], after_ps: int = 0) -> None:
        """Starts a transfer between the workers of these names; `done` is called when the last byte is there.

        Args:
            after_ps: from now until it is posted.
        """
        transfer = _Transfer(self._out[source], self._in[target], self._times.moves_ps(num_bytes), done)
        if wait_ps := after_ps + self._times.latency_ps:
            Alarm(self._env, TRANSFER, lambda: self._enter(transfer)).set(self._env.now_ps + wait_ps)
        else:
            self._enter(transfer)

    def _enter(self, transfer: _Transfer) -> None:
        transfer.since_ps = self._env.now_ps
        transfer.alarm = Alarm(self._env, TRANSFER, lambda: self._leave(transfer))
        transfer.out[transfer] = transfer.into[transfer] = None
        self._share_out(transfer)

    def _leave(self, transfer: _Transfer) -> None:
        del transfer.out[transfer], transfer.into[transfer]
        self._share_out(transfer)
        transfer.done()

    def _share_out(self, changed: _Transfer) -> None:
        """Sets the pace of every transfer that shares an end with `changed`."""
        now = self._env.now_ps
        for transfer in {**changed.out, **changed.into}:
            share = max(len(transfer.out), len(transfer.into))
            if share == transfer.share:
                continue
            if transfer.share:
                transfer.left_ps = max(0.0, transfer.left_ps - (now - transfer.since_ps) / transfer.share)
            transfer.since_ps = now
            transfer.share = share
            transfer.alarm.set(now + ceil(transfer.left_ps * share))
