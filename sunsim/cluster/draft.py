"""A step while it is composed."""

from __future__ import annotations

from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.latency.steps import Chunk


class Draft:
    """What a step has beside the steady decodes.

    Attributes:
        budget: tokens that the step may still take.
        chunks: prompts computed in it, in whole or in part.
        entering: requests in a step for the first time.
        emitting: requests that emit in this step, but were not decoding before.
        joining, joining_tokens: of these, the ones with one token to compute, and their context.
        model: whose tokens were taken last.
        preempted: somebody was preempted, so nobody else is admitted.
    """

    __slots__ = ("budget", "chunks", "emitting", "entering", "joining", "joining_tokens", "model", "preempted")

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.chunks: list[Chunk] = []
        self.entering: list[Sequence] = []
        self.emitting: list[Sequence] = []
        self.joining = 0
        self.joining_tokens = 0
        self.model = UNSET
        self.preempted = False

    def take(self, sequence: Sequence) -> bool:
        """Schedules what is not computed of a sequence, as far as the budget goes; tells whether that is all of it."""
        before = sequence.computed_tokens
        left = sequence.known_tokens - before
        tokens = min(left, self.budget)
        self.budget -= tokens
        self.model = sequence.model
        sequence.computed_tokens += tokens
        if left == 1:
            self.joining += 1
            self.joining_tokens += sequence.known_tokens
        else:
            self.chunks.append(Chunk(tokens, before))
        if tokens < left:
            return False
        self.emitting.append(sequence)
        return True
