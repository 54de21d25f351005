"""How long moving a prompt's KV takes: from a bandwidth and a latency, or from measured transfers.

``python -m profiler cluster --transfers FILE`` measures: prompts of several lengths, prefilled by one worker and fetched
by another, one at a time and several at a time, by an idle worker and by one that decodes.
"""

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sunsim.clock import PS_PER_MS, to_ps
from sunsim.errors import InputError
from sunsim.latency.document import Bytes, Document, Milliseconds, Text, once, read_document

Floats: TypeAlias = NDArray[np.float64]

PS_PER_BIT_AT_GBIT_S = 1000  # 1 Gbit/s


class TransferPoint(Document):
    """Transfers of prompts of one length.

    Attributes:
        concurrent: how many were asked for at a time.
        transfer_ms_median: from their beginning until all was there, ms.
        post_ms_median: the part of it in which the receiving worker's host was busy handing them to the link, ms.
        host_ms_median: all that the host did to begin them, what it prepared before included, ms; None: not measured.
    """

    bytes: Bytes
    concurrent: int = Field(ge=1, le=10**6)
    transfer_ms_median: float = Field(ge=1e-6, le=1e6)
    post_ms_median: Milliseconds
    host_ms_median: Milliseconds | None = None

    @property
    def host_ms(self) -> float:
        """How long the host was busy with it."""
        return self.post_ms_median if self.host_ms_median is None else self.host_ms_median

    @property
    def moves_ms(self) -> float:
        """What it took once the host was through with it."""
        return max(0.0, self.transfer_ms_median - self.post_ms_median)


class BesidePoint(Document):
    """Transfers to a worker that decoded meanwhile, one at a time.

    Attributes:
        decode_requests: how many it decoded.
        lead_ms_median: from the output that let it decide until the GPU started the step, beyond the host's time for
            the transfer, where that outlasted the step before; None: where it did not.
        begin_ms_median: from a request's coming to the scheduler until the host began, ms.
        admit_ms_median: from the worker's seeing that the KV was there until it took the request into a step, ms.
    """

    decode_requests: int = Field(ge=0, le=10**6)
    lead_ms_median: Milliseconds | None = None
    begin_ms_median: Milliseconds
    admit_ms_median: Milliseconds


class TransferData(Document):
    """The JSON document of a measured link. Keys beyond these are kept, not interpreted."""

    schema_version: Literal[1]
    card: Text
    date: Text
    host: dict[Text, Any] = Field(default={}, max_length=100)
    transfer_points: list[TransferPoint] = Field(max_length=100_000)
    beside_points: list[BesidePoint] = Field(default=[], max_length=100_000)


@dataclass(frozen=True, slots=True)
class HostTimes:
    """What the receiving worker's host adds to transfers, all in picoseconds.

    It looks whether KV is there once a step, when it has launched it, and the scheduler hears of it with that step's
    output (vLLM 0.24: `get_finished` in ``NixlBaseConnectorWorker``, `_update_from_kv_xfer_finished` in its scheduler).

    Attributes:
        begin_ps: from a decision until it begins with a transfer, where it decodes nothing.
        lead_ps: from a decision until it has launched a step of decodes, what takes longer with each of them aside.
        lead_ps_per_decode: that, for each.
        admit_ps: from the KV's coming to the next decision, where nothing else is under way.
    """

    begin_ps: int
    lead_ps: float
    lead_ps_per_decode: float
    admit_ps: int

    def launched_ps(self, decodes: int) -> int:
        """From a decision until it has launched so many decodes."""
        return round(self.lead_ps + self.lead_ps_per_decode * decodes)


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """What a transfer takes: first the receiving worker's host posts it, then it moves.

    Attributes:
        latency_ps: of moving, before the first byte; transfers do not share it.
        bytes_: rising sizes, for which the next two have the times; straight lines between and on beyond the ends.
        posting_ps: the host is busy; one transfer after the other, and no step is launched meanwhile.
        moving_ps: after that and the latency, for a transfer that has the link alone.
        beside_ps: as `posting_ps`, while another one moves; the link takes no more at a time, so the host waits for it.
            Empty where it is the same.
        host: None where it was not measured, or the hosts have no work with transfers.
    """

    latency_ps: int
    bytes_: tuple[float, ...]
    posting_ps: tuple[float, ...]
    moving_ps: tuple[float, ...]
    beside_ps: tuple[float, ...] = ()
    host: HostTimes | None = None

    def posts_ps(self, num_bytes: int, *, beside: bool = False) -> int:
        """Time of the host for so many bytes; `beside` another transfer that moves."""
        return round(self._at((beside and self.beside_ps) or self.posting_ps, num_bytes))

    def moves_ps(self, num_bytes: int) -> float:
        """Time on the link for so many bytes, without the latency."""
        return self._at(self.moving_ps, num_bytes)

    def _at(self, times_ps: tuple[float, ...], num_bytes: int) -> float:
        sizes = self.bytes_
        right = bisect_left(sizes, num_bytes, 1, len(sizes) - 1)
        low, high, short, long = sizes[right - 1], sizes[right], times_ps[right - 1], times_ps[right]
        return max(0.0, short + (long - short) * (num_bytes - low) / (high - low))


def steady_link(bandwidth_gbit_s: float, latency_ms: float) -> LinkTimes:
    """A link of one bandwidth (1 Gbit/s is 10**9 bit/s), whatever the size, that the hosts have no work with."""
    per_byte = 8 * PS_PER_BIT_AT_GBIT_S / bandwidth_gbit_s
    return LinkTimes(to_ps(latency_ms / 1000), (0.0, 1.0), (0.0, 0.0), (0.0, per_byte))


def measured_link(data: TransferData) -> LinkTimes:
    """From the transfers that had the link alone; the latency is what the smallest takes to move.

    Beyond the largest, a transfer takes at least as many times as long as it is larger: the link and the host are taken
    to be no quicker a byte than they were there, latency included, nor than the last piece of the line says.
    """
    # Of several points of one size the last one counts.
    by_size = {p.bytes: (p.host_ms, p.moves_ms) for p in data.transfer_points if p.concurrent == 1}
    alone = [(size, *times_ms) for size, times_ms in sorted(by_size.items())]
    sizes, posting_ms, moving_ms = np.array(alone).T
    # A larger transfer that came out quicker is noise, and would run backwards.
    posting_ms, moving_ms = np.maximum.accumulate(posting_ms), np.maximum.accumulate(moving_ms)
    posting_ms, moving_ms = _of_twice(sizes, posting_ms), _of_twice(sizes, moving_ms)
    sizes = np.append(sizes, 2.0 * sizes[-1])
    return LinkTimes(
        latency_ps=to_ps(float(moving_ms[0]) / 1000),
        bytes_=tuple(sizes.tolist()),
        posting_ps=tuple((posting_ms * PS_PER_MS).tolist()),
        moving_ps=tuple(((moving_ms - moving_ms[0]) * PS_PER_MS).tolist()),
        beside_ps=tuple((_beside_ms(data, sizes, posting_ms) * PS_PER_MS).tolist()),
        host=_host_times(data.beside_points),
    )


def _beside_ms(data: TransferData, sizes: Floats, alone_ms: Floats) -> Floats:
    """The host's times beside another transfer: in proportion to the bytes, as the transfers at a time had it, and no
    shorter than alone.
    """
    several = [point for point in data.transfer_points if point.concurrent > 1]
    if not several:
        return alone_ms
    ms_per_byte = sum(point.host_ms for point in several) / sum(point.bytes for point in several)
    return np.maximum(alone_ms, ms_per_byte * sizes)


def _host_times(points: list[BesidePoint]) -> HostTimes | None:
    """Medians where nothing is decoded; a line through the leads, by least squares. None without points of both."""
    idle = [point for point in points if not point.decode_requests]
    leads = [(point.decode_requests, point.lead_ms_median) for point in points if point.lead_ms_median is not None]
    if not idle or len({decodes for decodes, _ in leads}) < 2:
        return None
    decodes, leads_ms = np.array(leads, dtype=np.float64).T
    slope_ms, lead_ms = np.polyfit(decodes, leads_ms, 1)
    return HostTimes(
        begin_ps=_median_ps([point.begin_ms_median for point in idle]),
        lead_ps=max(0.0, float(lead_ms)) * PS_PER_MS,
        lead_ps_per_decode=max(0.0, float(slope_ms)) * PS_PER_MS,
        admit_ps=_median_ps([point.admit_ms_median for point in idle]),
    )


def _median_ps(values_ms: list[float]) -> int:
    return round(float(np.median(values_ms)) * PS_PER_MS)


def _of_twice(sizes: Floats, times_ms: Floats) -> Floats:
    """Times with one more, of twice the largest size: the piece that leads there is the one that goes on beyond."""
    slope = (times_ms[-1] - times_ms[-2]) / (sizes[-1] - sizes[-2])
    return np.append(times_ms, times_ms[-1] + max(slope * sizes[-1], times_ms[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTransfers:
    """Measured transfers as loaded."""

    path: Path
    data: TransferData


@once(64)
def load_transfers(path: Path) -> MeasuredTransfers:
    """Reads and checks measured transfers, once for each state of their file.

    Raises:
        InputError: the file is none, or has fewer than two sizes that had the link alone.
    """
    data, _ = read_document(path, TransferData, "measured transfers of schema version 1")
    if len({point.bytes for point in data.transfer_points if point.concurrent == 1}) < 2:
        message = "has less than two sizes of transfers alone on the link (concurrent 1), must have at least two"
        raise InputError(message, path)
    return MeasuredTransfers(path, data)
