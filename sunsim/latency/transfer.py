"""How long moving a prompt's KV takes: from a bandwidth and a latency, or from measured transfers.

``python -m profiler cluster --transfers FILE`` measures: prompts of several lengths, prefilled by one worker and fetched
by another, one at a time and several at a time.
"""

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sunsim.clock import PS_PER_MS, to_ps
from sunsim.errors import InputError
from sunsim.latency.document import Bytes, Document, Milliseconds, Text, once, read_document

PS_PER_BIT_AT_GBIT_S = 1000  # 1 Gbit/s


class TransferPoint(Document):
    """Transfers of prompts of one length.

    Attributes:
        concurrent: how many were asked for at a time.
        transfer_ms_median: from their beginning until all was there, ms.
        post_ms_median: the part of it in which the receiving worker's host was busy handing them to the link, ms.
    """

    bytes: Bytes
    concurrent: int = Field(ge=1, le=10**6)
    transfer_ms_median: float = Field(ge=1e-6, le=1e6)
    post_ms_median: Milliseconds


class TransferData(Document):
    """The JSON document of a measured link. Keys beyond these are kept, not interpreted."""

    schema_version: Literal[1]
    card: Text
    date: Text
    host: dict[Text, Any] = Field(default={}, max_length=100)
    transfer_points: list[TransferPoint] = Field(max_length=100_000)


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """What a transfer takes: first the receiving worker's host posts it, then it moves.

    Attributes:
        latency_ps: of moving, before the first byte; transfers do not share it.
        bytes_: rising sizes, for which the next two have the times; straight lines between and on beyond the ends.
        posting_ps: the host is busy; one transfer after the other, and no step is launched meanwhile.
        moving_ps: after that and the latency, for a transfer that has the link alone.
    """

    latency_ps: int
    bytes_: tuple[float, ...]
    posting_ps: tuple[float, ...]
    moving_ps: tuple[float, ...]

    def posts_ps(self, num_bytes: int) -> int:
        """Time of the host for so many bytes."""
        return round(self._at(self.posting_ps, num_bytes))

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
    by_size = {p.bytes: (p.post_ms_median, p.transfer_ms_median) for p in data.transfer_points if p.concurrent == 1}
    alone = [(size, *times_ms) for size, times_ms in sorted(by_size.items())]
    sizes, posting_ms, whole_ms = np.array(alone).T
    # A larger transfer that came out quicker is noise, and would run backwards.
    posting_ms = np.maximum.accumulate(posting_ms)
    moving_ms = np.maximum.accumulate(np.maximum(whole_ms - posting_ms, 0.0))
    posting_ms, moving_ms = _of_twice(sizes, posting_ms), _of_twice(sizes, moving_ms)
    return LinkTimes(
        latency_ps=to_ps(float(moving_ms[0]) / 1000),
        bytes_=(*sizes.tolist(), 2.0 * sizes[-1]),
        posting_ps=tuple((posting_ms * PS_PER_MS).tolist()),
        moving_ps=tuple(((moving_ms - moving_ms[0]) * PS_PER_MS).tolist()),
    )


def _of_twice(sizes: NDArray[np.float64], times_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times with one more, of twice the largest size: the piece that leads there is the one that goes on beyond."""
    slope = (times_ms[-1] - times_ms[-2]) / (sizes[-1] - sizes[-2])
    return np.append(times_ms, times_ms[-1] + max(slope * sizes[-1], times_ms[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTransfers:
    """Measured transfers as loaded."""

    path: Path
    data: TransferData


@once
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
