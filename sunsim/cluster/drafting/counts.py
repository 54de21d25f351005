"""What a worker's drafts came to."""

from typing import NamedTuple

import numpy as np

from sunsim.cluster.drafting.plan import Plan


class DraftCounts(NamedTuple):
    """Under vLLM's names; bursts count whole, whether or not the end of an output cut them, ghosts not at all."""

    num_drafts: int
    num_draft_tokens: int
    num_accepted_tokens_per_pos: list[int]


class Counts:
    """Adds up steps with drafts, for the worker and for each of its sequences."""

    __slots__ = ("_accepting", "_draft_tokens")

    def __init__(self, num_speculative_tokens: int) -> None:
        self._accepting = [0] * (num_speculative_tokens + 1)  # steps by drafts accepted
        self._draft_tokens = 0

    def count(self, plan: Plan, step: int) -> None:
        """Counts what a decode has done before `step`, as far as it is not counted."""
        begin, end = plan.counted, min(step - plan.first, plan.bursts.size)
        if end <= begin:
            return
        plan.counted = end
        sequence = plan.sequence
        sequence.bursts += end - begin
        begin = max(begin, plan.enters)
        if plan.k and end > begin:
            steps = end - begin
            found = np.bincount(plan.bursts[begin:end] - 1).tolist()
            sequence.drafted += steps
            sequence.draft_tokens += steps * plan.k
            self._draft_tokens += steps * plan.k
            for accepted, times in enumerate(found):
                sequence.accepted += accepted * times
                self._accepting[accepted] += times

    def so_far(self) -> DraftCounts:
        """What has been counted."""
        at_least = np.cumsum(self._accepting[::-1])[::-1].tolist()
        return DraftCounts(at_least[0], self._draft_tokens, at_least[1:])
