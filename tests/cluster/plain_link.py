"""The KV link as plainly as can be: every change at an end looks at every transfer there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from sunsim.cluster.events import TRANSFER, Alarm, Clock
from sunsim.latency.transfer import LinkTimes


@dataclass(eq=False)
class Transfer:
    """One KV cache on its way, and all that share its source's and its target's link."""

    out: list[Transfer]
    into: list[Transfer]
    left_ps: float
    done: Callable[[], None]
    since_ps: int = 0
    share: int = 0
    alarm: Alarm = field(init=False)


class PlainLink:
    """`KVLink`, transfer by transfer."""

    def __init__(self, env: Clock, times: LinkTimes) -> None:
        self._env = env
        self._times = times
        self._out: defaultdict[str, list[Transfer]] = defaultdict(list)
        self._in: defaultdict[str, list[Transfer]] = defaultdict(list)

    def start(self, source: str, target: str, num_bytes: int, done: Callable[[], None]) -> None:
        transfer = Transfer(self._out[source], self._in[target], self._times.moves_ps(num_bytes), done)
        transfer.alarm = Alarm(self._env, TRANSFER, lambda: self._leave(transfer))
        enter = Alarm(self._env, TRANSFER, lambda: self._enter(transfer))
        enter.set(self._env.now_ps + self._times.latency_ps)

    def _enter(self, transfer: Transfer) -> None:
        transfer.since_ps = self._env.now_ps
        transfer.out.append(transfer)
        transfer.into.append(transfer)
        self._share_out(transfer)

    def _leave(self, transfer: Transfer) -> None:
        transfer.out.remove(transfer)
        transfer.into.remove(transfer)
        self._share_out(transfer)
        transfer.done()

    def _share_out(self, changed: Transfer) -> None:
        now = self._env.now_ps
        for transfer in (*changed.out, *changed.into):
            share = max(len(transfer.out), len(transfer.into))
            if share == transfer.share:
                continue
            if transfer.share:
                transfer.left_ps = max(0.0, transfer.left_ps - (now - transfer.since_ps) / transfer.share)
            transfer.since_ps = now
            transfer.share = share
            transfer.alarm.set(now + ceil(transfer.left_ps * share))
