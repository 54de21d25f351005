"""What a request would meet on a worker, by what may be known of the worker and the step times of its pool.

Plain arithmetic without a clock, for routers, admission and whoever else decides by what is to come. Times are whole
picoseconds.
"""

from dataclasses import dataclass

from sunsim.clock import PS_PER_S
from sunsim.latency.steps import Chunk, StepTimes


def predicted_wait_ps(queued_tokens: float, tokens_per_s: float) -> int:
    """How long prompts of so many tokens in all, given to a worker and not computed, keep it from the next one.

    Args:
        queued_tokens: of one worker; of a pool that shares them evenly, all of them over the number of its workers.
        tokens_per_s: what a worker computes; its prefill velocity, V_P of TokenScale (arXiv:2512.03416).
    """
    return round(queued_tokens / tokens_per_s * PS_PER_S)


def prompt_ps(times: StepTimes, prompt_tokens: int, max_num_batched_tokens: int) -> int:
    """How long a worker with nothing else to do computes a prompt, in as few steps as its token budget allows."""
    took_ps = 0
    for before in range(0, prompt_tokens, max_num_batched_tokens):
        chunk = Chunk(min(max_num_batched_tokens, prompt_tokens - before), before)
        took_ps += times.chunked_step(0, 0, [chunk])[0]
    return took_ps


@dataclass(frozen=True, slots=True)
class DecodeForecast:
    """What decoding takes on a worker that has so many requests, of so many tokens in all.

    Attributes:
        times: of its steps.
        max_num_seqs: most requests that run at once; the others wait.
        kv_tokens: most tokens that requests which run have in all.
        mean_output: tokens that a request emits on average.
    """

    times: StepTimes
    max_num_seqs: int
    kv_tokens: int
    mean_output: float

    def running(self, requests: float, tokens: float) -> float:
        """How many of the requests run at once, all taken to be of one length."""
        most = min(requests, self.max_num_seqs)
        return most if tokens <= self.kv_tokens else min(most, requests * self.kv_tokens / tokens)

    def step_ps(self, requests: float, tokens: float) -> int:
        """Time of a decode step of those that run; 0 where there are none."""
        if requests <= 0:
            return 0
        running = self.running(requests, tokens)
        batch = max(1, round(running))
        context = round(tokens * (running / requests))
        base_ps, slope_ps, _, _ = self.times.decode_line(batch, context)
        return base_ps + slope_ps * context

    def place_ps(self, requests: int, tokens: int) -> int:
        """How long one of them waits for its place, the last that came.

        It begins when as many have ended as there are too many. Of ``r`` that run and emit ``mean_output`` tokens each,
        one ends every ``mean_output / r`` steps on average.
        """
        running = self.running(requests, tokens)
        return round((requests - running) * self.mean_output / max(1.0, running) * self.step_ps(requests, tokens))
