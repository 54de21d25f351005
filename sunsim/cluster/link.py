"""KV transfers between workers: each worker has one link in each direction, which its transfers share equally."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from sunsim.cluster.events import TRANSFER, Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from sunsim.cluster.events import Clock

PS_PER_BIT_AT_GBIT_S = 1000  # 1 Gbit/s


@dataclass(eq=False, slots=True)
class _Transfer:
    source: str
    target: str
    left_ps: float  # time that the rest takes alone on the link
    since_ps: int  # when left_ps was true
    share: int
    alarm: Alarm
    done: Callable[[], None]


@dataclass(slots=True)
class _Port:
    """One direction of one worker's link."""

    transfers: dict[_Transfer, None] = field(default_factory=dict)


class KVLink:
    """Moves KV caches. A transfer waits `latency_ps`, then runs at the smaller of its shares at both ends.

    With n transfers at its source and m at its target it gets ``bandwidth / max(n, m)``. Both ends are shared equally,
    whoever cannot use its part; that is at most a little slower than max-min fairness.
    """

    def __init__(self, env: Clock, bandwidth_gbit_s: float, latency_ps: int) -> None:
        self._env = env
        self._ps_per_byte = 8 * PS_PER_BIT_AT_GBIT_S / bandwidth_gbit_s
        self._latency_ps = latency_ps
        self._out: dict[str, _Port] = {}
        self._in: dict[str, _Port] = {}

    def start(self, source: str, target: str, num_bytes: int, done: Callable[[], None]) -> None:
        """Starts a transfer between the workers of these names; `done` is called when the last byte is there."""
        transfer = _Transfer(source, target, num_bytes * self._ps_per_byte, 0, 1, Alarm(self._env, TRANSFER, _no), done)
        if not self._latency_ps:
            self._enter(transfer)
            return
        Alarm(self._env, TRANSFER, lambda: self._enter(transfer)).set(self._env.now_ps + self._latency_ps)

    def _ports(self, transfer: _Transfer) -> tuple[_Port, _Port]:
        return self._out.setdefault(transfer.source, _Port()), self._in.setdefault(transfer.target, _Port())

    def _enter(self, transfer: _Transfer) -> None:
        transfer.since_ps = self._env.now_ps
        transfer.alarm = Alarm(self._env, TRANSFER, lambda: self._leave(transfer))
        for port in self._ports(transfer):
            port.transfers[transfer] = None
        self._share_out(transfer, transfer)

    def _leave(self, transfer: _Transfer) -> None:
        for port in self._ports(transfer):
            del port.transfers[transfer]
        self._share_out(transfer, None)
        transfer.done()

    def _share_out(self, changed: _Transfer, new: _Transfer | None) -> None:
        """Sets the pace of every transfer that shares an end with `changed`."""
        now = self._env.now_ps
        out, into = self._ports(changed)
        for transfer in {**out.transfers, **into.transfers}:
            source, target = self._ports(transfer)
            share = max(len(source.transfers), len(target.transfers))
            if share == transfer.share and transfer is not new:
                continue
            transfer.left_ps = max(0.0, transfer.left_ps - (now - transfer.since_ps) / transfer.share)
            transfer.since_ps = now
            transfer.share = share
            transfer.alarm.set(now + ceil(transfer.left_ps * share))


def _no() -> None:
    """Placeholder of an alarm that is never set."""
