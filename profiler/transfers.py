"""KV transfers as the receiving worker timed them: a line a transfer, from the engine's process to its client's.

A line is `[end_s, bytes, transfer_s, post_s, descriptors]`, `end_s` on the monotonic clock when the worker saw that it
was there.
"""

import json
import os
from pathlib import Path

TRANSFER_LOG_VARIABLE = "SUNSIM_TRANSFER_LOG"

Transfer = tuple[float, int, float, float, int]


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
    found = []
    for line in path.read_text().splitlines():
        end_s, num_bytes, transfer_s, post_s, descriptors = json.loads(line)
        found.append((end_s, num_bytes, transfer_s, post_s, descriptors))
    return found
