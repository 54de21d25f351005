"""A step while it is composed."""

from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.latency.steps import Chunk


class Draft:
    """What a step has beside the steady decodes.

    Attributes:
        budget: tokens that the step may still take.
        chunks: prompts computed in it, in whole or in part.
        ends_prompts, ends_prompts_tokens: how many of the requests with a chunk emit in this step, and their context.
        entering: requests in a step for the first time.
        emitting: requests that emit in this step, but were not decoding before.
        model: whose prompts it computes, where they must be of one model.
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
        "taken_in",
    )

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.chunks: list[Chunk] = []
        self.ends_prompts = 0
        self.ends_prompts_tokens = 0
        self.entering: list[Sequence] = []
        self.emitting: list[Sequence] = []
        self.model = UNSET
        self.preempted = False
        self.taken_in = 0
