"""What a request would meet on a worker, by what may be known of the worker and the step times of its pool.

Plain arithmetic without a clock, for routers, admission and whoever else decides by what is to come. Times are whole
picoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sunsim.clock import PS_PER_S
from sunsim.latency.steps import Chunk, StepTimes
from sunsim.roles import Stage
from sunsim.scenario import Pool


def predicted_wait_ps(queued_tokens: float, tokens_per_s: float) -> int:
    """How long prompts of so many tokens in all, given to a worker and not computed, keep it from the next one.

    Args:
        queued_tokens: of one worker; of a pool that shares them evenly, all of them over the number of its workers.
        tokens_per_s: what a worker computes; its prefill velocity, V_P of TokenScale (arXiv:2512.03416).
    """
    return round(queued_tokens / tokens_per_s * PS_PER_S)


def prompt_ps(times: StepTimes, prompt_tokens: int, max_num_batched_tokens: int) -> int:
    """How long a worker with nothing else to do computes a prompt, in as few steps as its token budget allows."""
    return sum(times.chunked_step(0, 0, [chunk])[0] for chunk in _chunks(prompt_tokens, max_num_batched_tokens))


def _chunks(prompt_tokens: int, budget: int) -> Iterator[Chunk]:
    for before in range(0, prompt_tokens, budget):
        yield Chunk(min(budget, prompt_tokens - before), before)


@dataclass(frozen=True, slots=True)
class DecodeForecast:
    """What decoding takes on a worker that has so many requests, of so many tokens in all.

    Attributes:
        times: of its steps.
        max_num_seqs: most requests that run at once; the others wait.
        kv_tokens: most tokens that requests which run have in all.
        mean_prompt, mean_output: tokens of a request on average.
        prompt_budget: tokens of a step; 0 where the worker computes no prompts.
    """

    times: StepTimes
    max_num_seqs: int
    kv_tokens: int
    mean_prompt: float
    mean_output: float
    prompt_budget: int = 0

    @classmethod
    def of(cls, pool: Pool) -> DecodeForecast:
        """For the workers of a pool of decode or colocated workers."""
        return cls(
            pool.times,
            pool.max_num_seqs,
            (pool.num_gpu_blocks - 1) * pool.profile.block_size,  # vLLM keeps one block to itself
            pool.mean_prompt,
            pool.mean_output,
            pool.max_num_batched_tokens if pool.stage is Stage.COLOCATED else 0,
        )

    def running(self, requests: float, tokens: float) -> float:
        """How many of the requests run at once, all taken to be of one length."""
        most = min(requests, self.max_num_seqs)
        return most if tokens <= self.kv_tokens else min(most, requests * self.kv_tokens / tokens)

    def step_ps(self, requests: float, tokens: float) -> int:
        """Time of a decode step of those that run; 0 where there are none."""
        if requests <= 0:
            return 0
        batch, context = self._batch(requests, tokens)
        base_ps, slope_ps, _, _ = self.times.decode_line(batch, context)
        return base_ps + slope_ps * context

    def place_ps(self, requests: int, tokens: int) -> int:
        """How long the one of them that came last waits for its place.

        Until as many have ended as there are too many. Of ``r`` that run and emit ``mean_output`` tokens each, one ends
        every ``mean_output / r`` steps on average.
        """
        running = self.running(requests, tokens)
        if running == requests:
            return 0
        return round((requests - running) * self.mean_output / max(1.0, running) * self.step_ps(requests, tokens))

    def prompt_beside_ps(self, requests: int, tokens: int, prompt_tokens: int) -> int:
        """How much longer steps of those that run take with the prompt of one more in them; 0 where it comes as KV."""
        if not self.prompt_budget:
            return 0
        batch, context = self._batch(requests, tokens) if requests else (0, 0)
        plain_ps = self.step_ps(requests, tokens)
        chunks = _chunks(prompt_tokens, max(1, self.prompt_budget - batch))
        return sum(self.times.chunked_step(batch, context, [chunk])[0] - plain_ps for chunk in chunks)

    def gap_ps(self, requests: int, tokens: int) -> int:
        """Mean time between two tokens of those that run, if each that ends is followed by another.

        A step; and where the worker computes prompts, what those of the followers add, ``r / mean_output`` a step.
        """
        step_ps = self.step_ps(requests, tokens)
        if not self.prompt_budget:
            return step_ps
        followers = self.running(requests, tokens) / self.mean_output
        return step_ps + round(followers * self.prompt_beside_ps(requests, tokens, max(1, round(self.mean_prompt))))

    def _batch(self, requests: float, tokens: float) -> tuple[int, int]:
        """Of those that run: how many, and their context."""
        running = self.running(requests, tokens)
        return max(1, round(running)), round(tokens * (running / requests))
