"""How the workers of a loaded scenario's pool draft: their block, with every name looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.latency.drafts import DRAFTERS, DraftFamily, DraftTimes
from sunsim.latency.profile import Profile
from sunsim.latency.steps import DraftWorkerTimes
from sunsim.scenario.pools import PoolBlock
from sunsim.scenario.speculative import SpeculativeConfig
from sunsim.workload.acceptance import Rates


@dataclass(frozen=True, eq=False)
class Drafting:
    """Several tokens a step: how the workers of a pool draft.

    Attributes:
        config: as the completed document has it.
        family: the profiles that step times come from.
        times: of the workers' steps.
    """

    config: SpeculativeConfig
    family: DraftFamily
    _mix: Callable[[], LengthMix]
    _shares: Callable[[], Mapping[str, float]]

    @cached_property
    def times(self) -> DraftWorkerTimes:
        return DraftTimes(self.family, self._mix())

    def rates(self, models: Iterable[str]) -> list[list[Rates]]:
        """Acceptance rates of each of these models: from 0 tokens on, and by rising context."""
        config, drafts = self.config, self.config.num_speculative_tokens
        contexts = [Rates(block.from_tokens, block.rates(drafts)) for block in config.contexts]
        own = (config.models.get(name, config).rates(drafts) for name in models)
        return [[Rates(0, rates), *contexts] for rates in own]

    def tokens_a_step(self, context_tokens: float) -> tuple[float, ...]:
        """Tokens that a request of the scenario emits in a step in the mean, by the number of its drafts from 0 on.

        Args:
            context_tokens: of the request.
        """
        shares = self._shares()
        own = [
            next(at.rates for at in reversed(rates) if at.from_tokens <= context_tokens) for rates in self.rates(shares)
        ]
        accepted = np.average(own, axis=0, weights=list(shares.values()))
        return (1.0, *(1 + accepted.cumsum()).tolist())

    @property
    def lookahead(self) -> int:
        """Tokens for which a request has KV blocks beyond those of a step: as many as drafts, of a drafter with a KV cache."""
        return self.config.num_speculative_tokens if self.config.method in DRAFTERS else 0


def drafting_of(
    block: PoolBlock, base: Profile, shares: Callable[[], Mapping[str, float]], mix: Callable[[], LengthMix]
) -> Drafting | None:
    """Of a pool as the completed document has it; None where it does not draft.

    Args:
        base: the profile that the block names.
        shares: gives the share of the requests of each model.
        mix: gives the lengths that meet in batches.

    Raises:
        InputError: a profile is no longer what was checked.
    """
    config = block.speculative_config
    if config is None:
        return None
    family = DraftFamily.of(base, config.method, config.num_speculative_tokens)
    if not family:
        message = "has no profile with drafts beside it any more, must have one while it is simulated with"
        raise InputError(message, block.profile)
    return Drafting(config, family, mix, shares)
