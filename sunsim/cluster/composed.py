"""A step while it is composed."""

from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.latency.steps import Chunk

FULL = UNSET - 1
"""No model's index."""


class Composed:
    """What a step has beside the steady decodes.

    Attributes:
        budget: tokens that the step may still take.
        prompts_budget: of them, those of prompts; None: all.
        chunks: prompts computed in it, in whole or in part.
        ends_prompts, ends_prompts_tokens: how many of the requests with a chunk emit in this step, and their context.
        entering: requests in a step for the first time.
        emitting: requests that emit in this step, but were not decoding before.
        model: whose prompts it computes, where they must be of one model; `FULL` if it takes no more prompts.
        preempted: somebody was preempted, so nobody else is admitted.
        taken_in: prompt tokens of the entering requests whose KV has come from elsewhere.
    """

    __slots__ = (
        "budget",
        "chunks",
        "emitting",
        "ends_prompts",
        "ends_prompts_tokens",
        "entering",
        "model",
        "preempted",
        "prompts_budget",
        "taken_in",
    )

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.prompts_budget: int | None = None
        self.chunks: list[Chunk] = []
        self.ends_prompts = 0
        self.ends_prompts_tokens = 0
        self.entering: list[Sequence] = []
        self.emitting: list[Sequence] = []
        self.model = UNSET
        self.preempted = False
        self.taken_in = 0

    def room_for(self, sequence: Sequence) -> int:
        """How many of a request's tokens that are not computed the step may still take."""
        tokens = min(sequence.known_tokens - sequence.computed_tokens, self.budget)
        if self.prompts_budget is not None and sequence.computes_prompt:
            return min(tokens, self.prompts_budget)
        return tokens
