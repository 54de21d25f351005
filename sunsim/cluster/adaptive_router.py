"""Routers that ask the latency model of their pool what a request would meet on each worker, or do to it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sunsim.cluster.predict import DecodeForecast
from sunsim.cluster.router import Asked, Load, Unaware, next_of


class AdaptiveRouter(Unaware, ABC):
    """The worker of least `cost_ps` of those that have a place and KV blocks for the request.

    If none has, the one where it gets them first. Among equals the one with the fewest requests, then the first after the
    one picked last.
    """

    def __init__(self, forecast: DecodeForecast) -> None:
        self._forecast = forecast
        self._next = 0

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:
        assert asked
        n = len(workers)
        best, best_rank = 0, (float("inf"), 0.0, 0)
        for step in range(n):
            index = (self._next + step) % n
            worker = workers[index]
            number, tokens = worker.num_requests, worker.num_tokens
            wait_ps = self._forecast.place_ps(number + 1, tokens + asked.prompt_tokens)
            rank = float(wait_ps), self.cost_ps(worker, asked), number
            if rank < best_rank:
                best, best_rank = index, rank
        self._next = best + 1
        return best

    def changed(self, moved: Sequence[int | None]) -> None:
        self._next = next_of(moved, self._next)

    @abstractmethod
    def cost_ps(self, worker: Load, asked: Asked) -> float:
        """What it costs to put the request on this worker, in picoseconds."""


def owed_tokens(worker: Load, asked: Asked) -> int:
    """Output tokens that a worker's requests are to emit while the request does, if nobody else comes.

    Of ``n`` requests that owe ``W`` tokens in all, and emit one a step as it does over its ``L``: ``min(W, n * L)``, which
    is exact where all owe equally many and never too few. With nothing known of single outputs each owes the mean.
    """
    n = worker.num_requests
    # Whoever has not ended has a token to come, whatever was predicted.
    return min(max(worker.promised_tokens - worker.num_tokens, n), n * asked.output_tokens)


class LeastPredictedTpot(AdaptiveRouter):
    """The worker on which the request is predicted to have the lowest time per output token.

    That is a step of the batch that it meets on average over its life, if nobody else comes. Of the ``n`` requests there,
    which emit ``owed_tokens`` over its ``L`` steps, ``owed_tokens / L`` are beside it on average, each with as many tokens
    as those there have now and half of what it will still emit; the request itself has its prompt and half of its output.
    """

    def cost_ps(self, worker: Load, asked: Asked) -> float:
        n, own = worker.num_requests, asked.prompt_tokens + asked.output_tokens / 2
        if not n:
            return self._forecast.step_ps(1, own)
        owed = owed_tokens(worker, asked)
        beside = owed / asked.output_tokens
        return self._forecast.step_ps(beside + 1, beside * (worker.num_tokens + owed / 2) / n + own)


class LeastHarm(AdaptiveRouter):
    """The worker on which the request adds the least delay, to those there and to itself, summed over requests.

    A step takes ``T`` now and ``T'`` with the request. Each of those there has ``T' - T`` more a step for as many steps as
    both are there, ``owed_tokens`` in sum; the request takes ``L`` steps itself: ``(T' - T) * owed_tokens + L * T'``. To
    that comes, where the worker computes its prompt, how much longer steps with the prompt in them take, for itself and
    each of those that decode.
    """

    def cost_ps(self, worker: Load, asked: Asked) -> float:
        forecast, prompt = self._forecast, asked.prompt_tokens
        n, tokens = worker.num_requests, worker.num_tokens
        without, with_it = forecast.step_ps(n, tokens), forecast.step_ps(n + 1, tokens + prompt)
        delay_ps = float((with_it - without) * owed_tokens(worker, asked) + with_it * asked.output_tokens)
        running = forecast.running(n, tokens) if n else 0.0
        return delay_ps + (running + 1) * forecast.prompt_beside_ps(n, tokens, prompt)


ADAPTIVE_ROUTERS: dict[str, type[AdaptiveRouter]] = {
    "least-predicted-tpot": LeastPredictedTpot,
    "least-harm": LeastHarm,
}
"""By the name that a scenario has for them."""
