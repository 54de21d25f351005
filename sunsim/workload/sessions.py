"""Conversations: which requests follow which, and what their prompts have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("session", "round", "previous", "think_ps", "prompt", "answer")

UNKNOWN = -1
"""In place of a request or a segment: there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Pieces of text that prompts and answers are made of: a tree, in which a path from the root is a text.

    Two prompts have exactly those segments in common that their paths have.

    Attributes:
        parent: the segment before it, int32[s], always an earlier one; `UNKNOWN` of one that texts begin with.
        end: tokens from the beginning of the text to the end of the segment, int64[s].
    """

    parent: NDArray[np.int32]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return self.parent.size


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """What is known of requests beside their lengths where they are rounds of conversations.

    Attributes:
        session: int32[n].
        round: within its session, from 0, int32[n].
        previous: the request whose last token it waits for, int32[n], always an earlier one; `UNKNOWN` of one that
            arrives when `Requests.arrival_ps` says.
        think_ps: from that token's coming to the client to the arrival, int64[n]; 0 without `previous`.
        prompt: the segment that its prompt ends with, whose `end` is its `prompt_tokens`, int32[n].
        answer: the segment that its output ends with, whose `end` is prompt and output together, int32[n]; its path goes
            through `prompt`, in one step unless a later prompt begins with a part of the output.
        segments: of all of them.
        unfit: rounds that would follow, but fit into no worker of some arm: sessions end before those.
    """

    session: NDArray[np.int32]
    round: NDArray[np.int32]
    previous: NDArray[np.int32]
    think_ps: NDArray[np.int64]
    prompt: NDArray[np.int32]
    answer: NDArray[np.int32]
    segments: Segments
    unfit: int = 0

    def where(self, own: NDArray[np.bool_]) -> Sessions:
        """Of some requests only, with which are those that they wait for."""
        number = np.cumsum(own, dtype=np.int32) - np.int32(1)
        columns = {name: getattr(self, name)[own] for name in COLUMNS}
        before = columns["previous"]
        columns["previous"] = np.where(before == UNKNOWN, np.int32(UNKNOWN), number[before])
        return replace(self, **columns)

    @property
    def begun(self) -> int:
        """Requests that wait for no other: sessions, where others do."""
        return int((self.previous == UNKNOWN).sum())

    @property
    def react(self) -> bool:
        """Whether some request waits for another's end, so that arrivals are for a simulation to say."""
        return bool((self.previous != UNKNOWN).any())
