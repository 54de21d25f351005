"""Drafts as vLLM's scheduler hands them out, and which of them a card accepts, one step of one request at a time."""

from __future__ import annotations

from sunsim.cluster.drafting.drafts import Drafts
from tests.cluster.jobs import Job, Out


class PlainDrafts:
    """Drafts of one worker.

    Attributes:
        k: drafts of each decode in the next step.
    """

    def __init__(self, config: Drafts) -> None:
        self.config = config
        self.k = config.num_speculative_tokens

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
        out = Out(job, job.drafts, self._accepted(job))
        job.drafts = self._after(requests)
        return out

    def _accepted(self, job: Job) -> int:
        k, acceptance = job.drafts, self.config.acceptance
        left = job.outputs - job.made
        if not k or left <= 0:
            job.plan = []
            return 0
        sequence = job.sequence
        if acceptance.expected:
            # As many steps as are expected for all that is left, again whenever the number of drafts changes.
            if not job.plan or job.planned != k:
                plan = acceptance.accepted(sequence.request, sequence.model, job.drafted, job.on_card, left, k)
                job.plan, job.planned = plan.tolist(), k
            accepted = job.plan.pop(0)
        else:
            one = acceptance.accepted(sequence.request, sequence.model, job.drafted, job.on_card, 1, k)
            accepted = int(one[0])
        job.drafted += 1
        return accepted

    def count(self, out: Out) -> None:
        """What a request has had, with a burst that is out; nobody counts what comes after its last token."""
        sequence = out.job.sequence
        sequence.bursts += 1
        if out.drafts:
            sequence.drafted += 1
            sequence.draft_tokens += out.drafts
            sequence.accepted += out.accepted
