"""KV transfers as the receiving worker timed them: a line a transfer, from the engine's process to its client's.

A line is the fields of a `Transfer`, in their order.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

TRANSFER_LOG_VARIABLE = "SUNSIM_TRANSFER_LOG"


class Transfer(NamedTuple):
    """One transfer.

    end_s: on the monotonic clock, when the worker saw that it was there; it looks once a step.
    bytes: moved.
    transfer_s: Nixl's own account, from its posting until it was seen to be there; post_s of it to post it.
    descriptors: pieces that it was posted in.
    begin_s: on the monotonic clock, when the worker's host began with it.
    host_s: from then until the host was free again, all that preparing and posting takes.
    look_s: time of the host for looking whether it was there, in all looks; looks: how many they were.
    """

    end_s: float
    bytes: int
    transfer_s: float
    post_s: float
    descriptors: int
    begin_s: float
    host_s: float
    look_s: float
    looks: int


def record_transfers_to(path: Path) -> None:
    """For engines started from now on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.environ[TRANSFER_LOG_VARIABLE] = str(path)


def append_transfer(transfer: Transfer) -> None:
    """Writes one, if anybody wants it."""
    if path := os.environ.get(TRANSFER_LOG_VARIABLE):
        with Path(path).open("a") as file:
            file.write(json.dumps(transfer) + "\n")


def read_transfers(path: Path) -> list[Transfer]:
    """All written so far; none if there is no such file."""
    if not path.exists():
        return []
    return [Transfer(*json.loads(line)) for line in path.read_text().splitlines()]
