"""Routers that ask the latency model of their pool what a request would meet on each worker.

Both picture a request's life on a worker in the same way. Of the ``n`` requests that are there and owe ``W`` output tokens
in all, ``min(n, W / L)`` are beside it on average over the ``L`` steps of its own output, if nobody else comes: as many as
their tokens fill, or all of them. (That is exact where all owe equally many, and never too few.) Each of these has as many
tokens as those there have on average now, and half of what it will still emit meanwhile; the request itself has its prompt
and half of its output. With nothing known of single outputs ``W`` is ``n`` times the mean and ``L`` is the mean, so all
``n`` are beside it throughout.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from sunsim.cluster.predict import DecodeForecast
from sunsim.cluster.router import Asked, Load, Unaware, next_of


class Beside(NamedTuple):
    """Who decodes beside a request, on average over its life: requests, and their tokens in all."""

    requests: float
    tokens: float


class AdaptiveRouter(Unaware, ABC):
    """The worker of least `cost_ps`; among equals the one with the fewest requests, then the first after the one picked last."""

    def __init__(self, forecast: DecodeForecast) -> None:
        self._forecast = forecast
        self._next = 0

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:
        assert asked
        n = len(workers)
        best, best_rank = 0, (float("inf"), 0)
        for step in range(n):
            index = (self._next + step) % n
            worker = workers[index]
            rank = self.cost_ps(worker, asked), worker.num_requests
            if rank < best_rank:
                best, best_rank = index, rank
        self._next = best + 1
        return best

    def changed(self, moved: Sequence[int | None]) -> None:
        self._next = next_of(moved, self._next)

    @abstractmethod
    def cost_ps(self, worker: Load, asked: Asked) -> float:
        """What it costs to put the request on this worker, in picoseconds."""

    def _beside(self, worker: Load, asked: Asked) -> Beside:
        n = worker.num_requests
        if not n:
            return Beside(0.0, 0.0)
        tokens = worker.num_tokens
        # Whoever has not ended has a token to come, whatever was predicted.
        owed = min(max(worker.promised_tokens - tokens, n), n * asked.output_tokens)
        requests = owed / asked.output_tokens
        return Beside(requests, requests * (tokens + owed / 2) / n)

    def _with(self, beside: Beside, asked: Asked) -> int:
        """A step of those beside the request and of itself."""
        own = asked.prompt_tokens + asked.output_tokens / 2
        return self._forecast.step_ps(beside.requests + 1, beside.tokens + own)


class LeastPredictedTpot(AdaptiveRouter):
    """The worker on which the request is predicted to have the lowest time per output token.

    That is a step of the batch that it meets on average over its life, itself in it. Requests for which the worker has no
    place or no KV blocks wait outside the batch, which is the same for the next one: it goes where fewest are.
    """

    def cost_ps(self, worker: Load, asked: Asked) -> float:
        return self._with(self._beside(worker, asked), asked)


class LeastHarm(AdaptiveRouter):
    """The worker on which the request adds the least delay, to those there and to itself, summed over requests.

    With ``b`` requests beside it whose step takes ``T(b)`` without it and ``T(b + 1)`` with it, it makes each of ``L`` steps
    longer for ``b`` of them, and takes ``L`` steps itself: ``L * (b * (T(b + 1) - T(b)) + T(b + 1))``. To that comes its
    wait for a place, and where the worker computes its prompt, how much longer steps with the prompt in them take, for
    itself and each of those that decode.
    """

    def cost_ps(self, worker: Load, asked: Asked) -> float:
        forecast, beside = self._forecast, self._beside(worker, asked)
        with_it, without = self._with(beside, asked), forecast.step_ps(*beside)
        decoding_ps = asked.output_tokens * (beside.requests * (with_it - without) + with_it)
        n, tokens = worker.num_requests, worker.num_tokens
        running = forecast.running(n, tokens) if n else 0.0
        prompt_ps = (running + 1) * forecast.prompt_beside_ps(n, tokens, asked.prompt_tokens)
        return decoding_ps + prompt_ps + forecast.place_ps(n + 1, tokens + asked.prompt_tokens)


ADAPTIVE_ROUTERS: dict[str, type[AdaptiveRouter]] = {
    "least-predicted-tpot": LeastPredictedTpot,
    "least-harm": LeastHarm,
}
"""By the name that a scenario has for them."""
