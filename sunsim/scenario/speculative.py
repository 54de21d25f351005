"""What a scenario file may say about several tokens a step (speculative decoding), under vLLM's names."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from sunsim.document.block import Block, Count, Name, Tokens
from sunsim.latency.drafts import Method
from sunsim.workload.acceptance import rates_of_length

MOST_DRAFTS = 16

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Range: TypeAlias = Annotated[tuple[Count, Count, Annotated[int, Field(ge=0, le=MOST_DRAFTS)]], Field(strict=False)]
"""From so many requests in a step to so many, both included, and the drafts of each of them in the next step."""


class AcceptanceBlock(Block):
    """How many drafts are accepted. A completed document has the rates.

    Attributes:
        synthetic_acceptance_rates: the share of a request's steps in which its first draft, its first two, ... are all
            accepted; one for each draft, none larger than the one before.
        synthetic_acceptance_length: tokens of a step in the mean, accepted drafts and one more: as many drafts as it has
            whole ones are always accepted, and one more with the rest as its share (vLLM's rule of least variance).
    """

    synthetic_acceptance_rates: (
        Annotated[tuple[Share, ...], Field(strict=False, min_length=1, max_length=MOST_DRAFTS)] | None
    ) = None
    synthetic_acceptance_length: Annotated[float, Field(ge=1, le=MOST_DRAFTS + 1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        given = [self.synthetic_acceptance_rates is not None, self.synthetic_acceptance_length is not None]
        if sum(given) != 1:
            both = "synthetic_acceptance_rates and synthetic_acceptance_length are"
            message = f"{both} both given, one of them must be left out"
            if not any(given):
                message = f"{both} missing, one of them must be given"
            raise ValueError(message)
        return self

    def rates(self, num_speculative_tokens: int) -> tuple[float, ...]:
        """Its rates, those that a length stands for where it states one."""
        if self.synthetic_acceptance_rates is not None:
            return self.synthetic_acceptance_rates
        assert self.synthetic_acceptance_length
        return rates_of_length(self.synthetic_acceptance_length, num_speculative_tokens)

    def scaled(self, share: float, num_speculative_tokens: int) -> Self:
        """With such a share of each of its rates, at most 1."""
        rates = tuple(share * rate for rate in self.rates(num_speculative_tokens))
        return self.model_copy(update={"synthetic_acceptance_rates": rates, "synthetic_acceptance_length": None})


class ContextAcceptance(AcceptanceBlock):
    """How many drafts are accepted of a request that has so many tokens, prompt and output, or more."""

    from_tokens: Tokens


class SpeculativeConfig(AcceptanceBlock):
    """Drafts of a stage that decodes. A step computes a request's last token and its drafts, and emits the accepted ones and one more.

    Attributes:
        method: what makes the drafts.
        num_speculative_tokens: drafts of a request in a step.
        num_speculative_tokens_per_batch_size: by the number of requests in the step before; a gap, and what lies beyond
            the last range, has the number of the range before it. None: always `num_speculative_tokens`.
        acceptance: ``drawn`` for each request and step, or as ``expected``: each request takes its mean number of steps.
        models: rates of a model's own.
        contexts: rates from so many tokens of a request on, of all models, by rising numbers.
    """

    method: Method = "eagle"
    num_speculative_tokens: int = Field(ge=1, le=MOST_DRAFTS)
    num_speculative_tokens_per_batch_size: (
        Annotated[tuple[Range, ...], Field(strict=False, min_length=1, max_length=1000)] | None
    ) = None
    acceptance: Literal["drawn", "expected"] = "drawn"
    models: dict[Name, AcceptanceBlock] = Field(default_factory=dict, max_length=10_000)
    contexts: Annotated[tuple[ContextAcceptance, ...], Field(strict=False, max_length=1000)] = ()

    def by_batch(self, max_num_seqs: int) -> tuple[int, ...] | None:
        """Drafts of a request by the number of requests in the step before, from 0 to `max_num_seqs`; None: always the same."""
        ranges = self.num_speculative_tokens_per_batch_size
        if ranges is None:
            return None
        found = [self.num_speculative_tokens] * (max_num_seqs + 1)
        for first, _, drafts in ranges:
            found[first:] = [drafts] * len(found[first:])
        return tuple(found)

    def accepting(self, share: float) -> Self:
        """With such a share of all its acceptance rates, those of models and contexts of their own too."""
        drafts = self.num_speculative_tokens
        models = {name: own.scaled(share, drafts) for name, own in self.models.items()}
        contexts = tuple(own.scaled(share, drafts) for own in self.contexts)
        return self.scaled(share, drafts).model_copy(update={"models": models, "contexts": contexts})

    @property
    def numbers(self) -> list[int]:
        """All numbers of drafts that its steps may have, ascending."""
        ranges = self.num_speculative_tokens_per_batch_size
        return sorted({self.num_speculative_tokens, *(drafts for _, _, drafts in ranges or ())})
