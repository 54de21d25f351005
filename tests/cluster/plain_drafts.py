"""Drafts as vLLM's scheduler hands them out, and which of them a card accepts, one step of one request at a time."""

from __future__ import annotations

from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.sequence import Sequence
from tests.accepted import accepted
from tests.cluster.jobs import Job, Out


class PlainDrafts:
    """Drafts of one worker.

    Attributes:
        k: drafts of each decode in the next step.
    """

    def __init__(self, config: Drafts) -> None:
        self.config = config
        self.k = config.num_speculative_tokens
        self.num_drafts = 0
        self.num_draft_tokens = 0
        self.accepted_per_pos = [0] * config.num_speculative_tokens

    def _after(self, requests: int) -> int:
        """Drafts in the step after one with so many requests; vLLM's ``num_spec_tokens_to_schedule``."""
        by_batch = self.config.by_batch
        return self.config.num_speculative_tokens if by_batch is None else by_batch[requests]

    def composed(self, requests: int) -> None:
        """A step with so many requests was; after one with none nobody has drafts, and they stay as many."""
        if requests:
            self.k = self._after(requests)

    def make(self, job: Job, requests: int) -> Out:
        """What a step makes of a request, which the card has in it with the drafts that it was given."""
        k, job.drafts = job.drafts, self._after(requests)
        if job.made >= job.outputs:
            return Out(job, k, 0)  # nobody counts what comes after its last token
        taken = self._accepted(job, k)
        self._count(job.sequence, k, taken)
        return Out(job, k, taken)

    def _accepted(self, job: Job, k: int) -> int:
        if not k:
            job.plan = []
            return 0
        sequence, acceptance = job.sequence, self.config.acceptance
        if not acceptance.expected:
            one = accepted(acceptance, sequence.request, sequence.model, sequence.drafts, job.on_card, 1, k)
            return int(one[0])
        if not job.plan or job.planned != k:
            # As many steps as are expected for all that is left, again whenever the number of drafts changes.
            left = job.outputs - job.made
            plan = accepted(acceptance, sequence.request, sequence.model, sequence.drafts, job.on_card, left, k)
            job.plan, job.planned = plan.tolist(), k
        return job.plan.pop(0)

    def _count(self, sequence: Sequence, k: int, accepted: int) -> None:
        sequence.bursts += 1
        if k:
            sequence.drafts += 1
            sequence.draft_tokens += k
            sequence.accepted_tokens += accepted
            self.num_drafts += 1
            self.num_draft_tokens += k
            for position in range(accepted):
                self.accepted_per_pos[position] += 1

    def counts(self) -> DraftCounts:
        """What the drafts of all steps launched came to."""
        return DraftCounts(self.num_drafts, self.num_draft_tokens, list(self.accepted_per_pos))
