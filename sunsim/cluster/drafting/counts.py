"""What a worker's drafts came to."""

from typing import NamedTuple

import numpy as np

from sunsim.cluster.drafting.plan import Ints, Plan

UNCOUNTED = 256
"""Arrays are added up at once as often as there are so many."""


class DraftCounts(NamedTuple):
    """Under vLLM's names; bursts count whole, whether or not the end of an output cut them, ghosts not at all."""

    num_drafts: int
    num_draft_tokens: int
    num_accepted_tokens_per_pos: list[int]


class Counts:
    """Adds up steps with drafts, for the worker and for each of its sequences."""

    __slots__ = ("_accepting", "_bursts", "_draft_tokens")

    def __init__(self, num_speculative_tokens: int) -> None:
        self._accepting: Ints = np.zeros(num_speculative_tokens + 1, np.int64)  # steps by drafts accepted
        self._bursts: list[Ints] = []  # of steps that are not in there yet
        self._draft_tokens = 0

    def count(self, plan: Plan, step: int) -> None:
        """Counts what a decode has done before `step`, as far as it is not counted."""
        begin, end = plan.counted, min(step - plan.first, plan.bursts.size)
        if end <= begin:
            return
        plan.counted = end
        sequence, contexts = plan.sequence, plan.contexts
        sequence.bursts += end - begin
        begin = max(begin, plan.enters)
        if plan.k and end > begin:
            steps = end - begin
            sequence.drafts += steps
            sequence.draft_tokens += steps * plan.k
            sequence.accepted_tokens += int(contexts[end]) - int(contexts[begin]) - steps
            self._draft_tokens += steps * plan.k
            self._bursts.append(plan.bursts[begin:end])
            if len(self._bursts) == UNCOUNTED:
                self._add_up()

    def so_far(self) -> DraftCounts:
        """What has been counted."""
        self._add_up()
        at_least = np.cumsum(self._accepting[::-1])[::-1].tolist()
        return DraftCounts(at_least[0], self._draft_tokens, at_least[1:])

    def _add_up(self) -> None:
        if self._bursts:
            self._accepting += np.bincount(np.concatenate(self._bursts) - 1, minlength=self._accepting.size)
            self._bursts.clear()
