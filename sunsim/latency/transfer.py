"""How long moving a prompt's KV takes: from a bandwidth and a latency, or from measured transfers.

``python -m profiler cluster --transfers FILE`` measures: prompts of several lengths, prefilled by one worker and fetched
by another, one at a time and several at a time.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sunsim.clock import to_ps
from sunsim.errors import InputError

PS_PER_BIT_AT_GBIT_S = 1000  # 1 Gbit/s


class TransferPoint(BaseModel):
    """Transfers of prompts of one length; `concurrent` is how many ran at a time."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    bytes: int = Field(gt=0)
    concurrent: int = Field(ge=1)
    transfer_ms_median: float = Field(gt=0)


class TransferData(BaseModel):
    """The JSON document of a measured link. Keys beyond these are kept, not interpreted."""

    model_config = ConfigDict(frozen=True, extra="allow")

    schema_version: Literal[1]
    card: str
    date: str
    host: dict[str, Any] = {}
    transfer_points: list[TransferPoint]


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """What a transfer takes that has its link alone.

    Attributes:
        latency_ps: before the first byte moves; transfers do not share it.
        bytes_, moving_ps: what moving so many bytes takes after that, rising; straight lines between and beyond.
    """

    latency_ps: int
    bytes_: tuple[float, ...]
    moving_ps: tuple[float, ...]

    def moves_ps(self, num_bytes: int) -> float:
        """Time for so many bytes, without the latency."""
        last = len(self.bytes_) - 1
        right = min(max(int(np.searchsorted(self.bytes_, num_bytes)), 1), last)
        (low, high), (short, long) = self.bytes_[right - 1 : right + 1], self.moving_ps[right - 1 : right + 1]
        return max(0.0, short + (long - short) * (num_bytes - low) / (high - low))


def steady_link(bandwidth_gbit_s: float, latency_ms: float) -> LinkTimes:
    """A link of one bandwidth (1 Gbit/s is 10**9 bit/s), whatever the size."""
    per_byte = 8 * PS_PER_BIT_AT_GBIT_S / bandwidth_gbit_s
    return LinkTimes(to_ps(latency_ms / 1000), (0.0, 1.0), (0.0, per_byte))


def measured_link(data: TransferData) -> LinkTimes:
    """The latency is the time of the smallest transfer, which is next to nothing but latency."""
    alone = sorted((point.bytes, point.transfer_ms_median) for point in data.transfer_points if point.concurrent == 1)
    latency_ms = alone[0][1]
    # A larger transfer that came out quicker is noise, and would run backwards.
    times_ms = np.maximum.accumulate([ms for _, ms in alone])
    moving_ps = tuple(float(to_ps((ms - latency_ms) / 1000)) for ms in times_ms)
    return LinkTimes(to_ps(latency_ms / 1000), tuple(float(size) for size, _ in alone), moving_ps)


def load_transfers(path: Path) -> tuple[TransferData, str]:
    """Reads and checks measured transfers; the second is the file's SHA-256, hexadecimal.

    Raises:
        InputError: the file is none, or has fewer than two sizes that had the link alone.
    """
    raw = path.read_bytes()
    try:
        data = TransferData.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"no transfers of schema version 1: {where}: {first['msg']}"
        raise InputError(message, path) from error
    if len({point.bytes for point in data.transfer_points if point.concurrent == 1}) < 2:
        message = "has less than two sizes of transfers alone on the link (concurrent 1), must have at least two"
        raise InputError(message, path)
    return data, hashlib.sha256(raw).hexdigest()
