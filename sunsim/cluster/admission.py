"""Whether a request is let in, or refused because it is predicted to miss its model's limits."""

from __future__ import annotations

from dataclasses import dataclass

from sunsim.clock import PS_PER_MS
from sunsim.cluster.pool import Pool
from sunsim.cluster.predict import DecodeForecast, predicted_wait_ps, prompt_ps
from sunsim.cluster.router import Load
from sunsim.cluster.sequence import Sequence
from sunsim.latency.steps import StepTimes
from sunsim.latency.velocity import prefill_velocity
from sunsim.scenario import Arm, Scenario
from sunsim.scenario import Pool as Loaded

FIRST_STEPS = 2.5
"""From its place on a worker that decodes to a request's first token: the rest of a step, half of one on average, and two."""


@dataclass(frozen=True, slots=True)
class PrefillForecast:
    """What a prompt takes on a prefill worker that has prompts of so many tokens before it.

    Attributes:
        times: of the worker's steps.
        budget: tokens of a step.
        tokens_per_s: the worker's prefill velocity.
    """

    times: StepTimes
    budget: int
    tokens_per_s: float

    @classmethod
    def of(cls, pool: Loaded) -> PrefillForecast:
        """For the workers of a prefill pool."""
        budget = pool.max_num_batched_tokens
        return cls(pool.times, budget, prefill_velocity(pool.times, budget))

    def ready_ps(self, queued_tokens: int, prompt_tokens: int) -> int:
        """From now until the prompt is computed."""
        return predicted_wait_ps(queued_tokens, self.tokens_per_s) + prompt_ps(self.times, prompt_tokens, self.budget)


class Admission:
    """Refuses a request whose predicted TTFT or TPOT is above its model's limit, times a factor.

    What is predicted is what is there when it comes; nobody knows who will. Of the stage that it comes to, the worker counts
    that its router has picked; of a decode stage behind prefill the one with the fewest requests among those that serve the
    model. Loads are those that the stage's router knows. What a convertible worker takes is let in without being asked.

    - TTFT: the time since its arrival; on a prefill worker the wait for the prompts before it, their tokens over the
      worker's velocity, and its own prompt's steps; where decode emits the first token, the wait for a place there and
      two steps and a half, or one on a worker with nothing to do. A colocated worker computes the prompt beside its decodes.
    - TPOT: a decode step with it; on a colocated worker also what prompts add to a step on average, if each request that
      ends there is followed by another.
    """

    def __init__(self, scenario: Scenario, arm: Arm, prefill: Pool | None, decode: Pool | None, *, emits: bool) -> None:
        """Admission to an arm's stages.

        Args:
            prefill, decode: while they run; colocated workers are the latter.
            emits: prefill emits the first token where there is decode, too.
        """
        assert arm.block.admission
        factor = arm.block.admission.factor * PS_PER_MS
        limits = [scenario.slo.of(name) for name in scenario.model_names]
        self._ttft_ps = [factor * of.get("ttft_ms", float("inf")) for of in limits]
        self._tpot_ps = [factor * of.get("tpot_ms", float("inf")) for of in limits]
        self._decode = decode if prefill else None
        self._prefill_forecast = PrefillForecast.of(arm.prefill) if arm.prefill else None
        last = arm.decode or arm.colocated
        self._decode_forecast = DecodeForecast.of(last) if last else None
        self._emits = emits

    def admits(self, sequence: Sequence, load: Load, waited_ps: int) -> bool:
        """Whether a request may go to the worker that has been picked for it.

        Args:
            sequence: as that worker would get it.
            load: of that worker, without it.
            waited_ps: since its arrival.
        """
        ttft_ps, tpot_ps = waited_ps, 0
        prompt_tokens = sequence.prompt_tokens
        if self._prefill_forecast:
            ttft_ps += self._prefill_forecast.ready_ps(load.num_tokens, prompt_tokens)
        if forecast := self._decode_forecast:
            if self._decode:
                load = min(self._decode.serving(sequence.model)[1], key=lambda each: each.num_requests)
            there, with_it = load.num_requests, (load.num_requests + 1, load.num_tokens + prompt_tokens)
            tpot_ps = forecast.gap_ps(*with_it)
            if not self._emits:
                ttft_ps += forecast.place_ps(*with_it)
                ttft_ps += forecast.prompt_beside_ps(there, load.num_tokens, prompt_tokens)
                ttft_ps += round(tpot_ps * (FIRST_STEPS if there else 1))
        return ttft_ps <= self._ttft_ps[sequence.model] and tpot_ps <= self._tpot_ps[sequence.model]
