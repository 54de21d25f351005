"""A step that is being composed: who is in it, and what it has room for."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.cluster.jobs import Job


@dataclass
class PlainStep:
    """One step.

    Attributes:
        budget: tokens that there is room for.
        prompts: of these, those of prompts; None: all.
        one_model: prompts of one model alone.
        taken: who is in it, and how many tokens are computed of each.
    """

    budget: int
    prompts: int | None
    one_model: bool
    taken: list[tuple[Job, int]] = field(default_factory=list)

    def most(self, job: Job) -> int:
        """Tokens of it that it may take."""
        most = self.budget if self.prompts is None or not job.prompt else min(self.budget, self.prompts)
        return min(job.left, most)

    def take(self, job: Job, tokens: int) -> None:
        self.taken.append((job, tokens))
        self.budget -= tokens
        if self.prompts is not None and job.prompt:
            self.prompts -= tokens

    def waits(self, job: Job) -> bool:
        """Whether a request cannot be in it because of the prompts that are."""
        if self.prompts == 0 and job.sequence.computes_prompt:
            return True
        others = {other.sequence.model for other, _ in self.taken if other.prompt}
        own = {job.sequence.model} if job.sequence.computes_prompt else others
        return self.one_model and bool(others - own)

    def cut(self) -> list[Job]:
        """Those of which something is left; a prompt under way stays the last that runs."""
        return [job for job, tokens in self.taken if tokens < job.left]

    def cuts(self, job: Job) -> bool:
        """Whether it has no room for all that a request has made whose prompt is there, beside a prompt under way."""
        made = job.known - job.sequence.prompt_tokens
        return bool(self.cut()) and not job.sequence.computes_prompt and made + 1 > self.budget
