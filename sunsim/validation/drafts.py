"""Runs of workers that draft (speculative decoding): what a run says of its drafts, and how far draws alone scatter.

What is accepted is drawn on both sides, by the real worker (vLLM's synthetic rejection) and by the simulated one, from the
same rates but not with the same luck. So no simulator is nearer than one seed of its own is to another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.drafting.drafts import Drafts
from sunsim.latency.drafts import DRAFTERS
from sunsim.metrics.rows import Window
from sunsim.metrics.serving import latency, tokens_inside
from sunsim.roles import Role
from sunsim.validation.figures import Figure, change_percent
from sunsim.validation.served import Served
from sunsim.workload.acceptance import Acceptance, Rates, are_rates

SEEDS = range(1, 9)
"""Of the simulations that show how far draws scatter, beside that of seed 0, which is compared."""

LENGTH = "mean_acceptance_length"
LATENCIES = {"tpot": ("mean", "median", "p99"), "ttft": ("mean", "median", "p99")}


class RunDrafts(BaseModel):
    """A run's `speculative_config`, under vLLM's names; entry i of the rates is for drafts whose first i + 1 are accepted."""

    model_config = ConfigDict(frozen=True, extra="allow")

    method: str
    num_speculative_tokens: int = Field(ge=1)
    synthetic_acceptance_rates: tuple[float, ...]

    @model_validator(mode="after")
    def _one_rate_a_token(self) -> Self:
        rates = self.synthetic_acceptance_rates
        if len(rates) != self.num_speculative_tokens or not are_rates(rates):
            message = (
                f"synthetic_acceptance_rates must be {self.num_speculative_tokens} numbers from 0 to 1 that do not rise"
            )
            raise ValueError(message)
        return self

    def drafts(self, seed: int, max_model_len: int) -> Drafts:
        """How a simulated worker drafts that accepts what it draws from this seed.

        Args:
            seed: of the draws, which nothing else depends on.
            max_model_len: of the run.
        """
        tokens = self.num_speculative_tokens
        return Drafts(
            num_speculative_tokens=tokens,
            acceptance=Acceptance(seed, [[Rates(0, self.synthetic_acceptance_rates)]]),
            lookahead=tokens if self.method in DRAFTERS else 0,
            by_batch=None,
            max_model_len=max_model_len,
        )


def adds_up(counts: DraftCounts, stated: RunDrafts) -> bool:
    """Whether a run may have counted so: no draft is accepted that was not made, or before the ones ahead of it."""
    drafts, tokens, accepted = counts
    if not drafts:
        return tokens == 0 and not any(accepted)
    most = stated.num_speculative_tokens
    falling = all(one >= other >= 0 for one, other in pairwise((drafts, *accepted)))
    return len(accepted) == most and falling and max(drafts, sum(accepted)) <= tokens <= drafts * most


def mean_acceptance_length(counts: DraftCounts) -> float:
    """1 + accepted / drafts (vLLM); there must be some."""
    return 1 + sum(counts.num_accepted_tokens_per_pos) / counts.num_drafts


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure of one run, simulated with several seeds of acceptance.

    Attributes:
        tag: of the figure.
        mean_error_percent: of the mean over the seeds, against the actual run.
        deviation_percent: standard deviation of a seed's value, in percent of their mean.
    """

    tag: str
    mean_error_percent: float | None
    deviation_percent: float | None


def length_figure(actual: DraftCounts, simulated: DraftCounts) -> Figure:
    """The mean acceptance length of both sides."""
    return Figure.of(LENGTH, mean_acceptance_length(actual), mean_acceptance_length(simulated))


def gap_figure(actual: Served, simulated: Served, drafts: tuple[DraftCounts, DraftCounts]) -> Figure:
    """The mean ITL of both sides: between the bursts of a request, all of which but its first come from steps with drafts.

    So it tells steps that are off from acceptance that is.
    """
    real, model = (
        float((served.last_token_s - served.first_token_s).sum()) / counts.num_drafts * 1000
        for served, counts in zip((actual, simulated), drafts, strict=True)
    )
    return Figure.of("mean_itl_ms", real, model)


def values(served: Served, counts: DraftCounts, role: Role, saturated: Window | None) -> dict[str, float]:
    """The figures of one side that draws scatter, by tag."""
    found: dict[str, float | None] = {LENGTH: mean_acceptance_length(counts)} if counts.num_drafts else {}
    for key, stats in LATENCIES.items():
        found |= latency(key, getattr(served, f"{key}_ms"), stats)
    if role.decodes:
        found["output_throughput"] = float(served.output_tokens.sum()) / served.duration_s
    if role.decodes and saturated:
        tokens = float(tokens_inside(served.requests(), saturated).sum())
        found["saturated_output_throughput"] = tokens / saturated.length_s
    return {tag: value for tag, value in found.items() if value is not None}


def spread(actual: dict[str, float], simulated: Sequence[dict[str, float]]) -> list[Spread]:
    """How far the seeds scatter, figure by figure.

    Args:
        actual: the run's `values`.
        simulated: those of each seed, two or more, which have the same figures.
    """
    found = []
    for tag, value in actual.items():
        seeds = np.array([each[tag] for each in simulated])
        mean = float(seeds.mean())
        found.append(Spread(tag, change_percent(mean, value), float(seeds.std(ddof=1)) / mean * 100 if mean else None))
    return found
