"""What a worker's decision brought, for whoever drives it."""

from sunsim.cluster.sequence import Sequence

NOBODY: list[Sequence] = []
"""Of which most outcomes consist; nothing is ever put in."""


class Outcome:
    """What a decision brought: requests taken into a step for the first time, done, to be pulled, sent back for their KV."""

    __slots__ = ("entered", "evicted", "finished", "loads")

    def __init__(self) -> None:
        self.entered = self.finished = self.loads = self.evicted = NOBODY
