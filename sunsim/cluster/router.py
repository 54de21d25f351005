"""Who gets the next request: one small class a policy, usable by a simulated and by a live cluster alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np


class Load(Protocol):
    """What a router may know of a worker."""

    @property
    def num_requests(self) -> int:
        """Requests given to the worker and not finished."""

    @property
    def num_tokens(self) -> int:
        """Tokens of these requests, prompts and what was generated: the KV load."""


class Router(Protocol):
    """Picks a worker for a request."""

    def pick(self, workers: Sequence[Load]) -> int:
        """Index of the worker that gets the next request; `workers` is the same list at every call."""


class RoundRobin:
    """Each worker in turn."""

    def __init__(self) -> None:
        self._next = 0

    def pick(self, workers: Sequence[Load]) -> int:
        index = self._next
        self._next = (index + 1) % len(workers)
        return index


class Random:
    """Any worker, all equally likely."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def pick(self, workers: Sequence[Load]) -> int:
        return int(self._rng.integers(len(workers)))


class _Least:
    """The worker with the least load; among equals the first after the one picked last, so that none is favoured."""

    def __init__(self, load: Callable[[Load], int]) -> None:
        self._load = load
        self._last = -1

    def pick(self, workers: Sequence[Load]) -> int:
        n = len(workers)
        if n == 1:
            return 0
        start = self._last + 1
        least: int | None = None
        for i in range(start, start + n):
            load = self._load(workers[i % n])
            if least is None or load < least:
                least = load
                self._last = i % n
        return self._last


class LeastRequests(_Least):
    """The worker with the fewest unfinished requests."""

    def __init__(self) -> None:
        super().__init__(lambda worker: worker.num_requests)


class LeastTokens(_Least):
    """The worker whose unfinished requests hold the fewest tokens."""

    def __init__(self) -> None:
        super().__init__(lambda worker: worker.num_tokens)


class PowerOfTwoChoices:
    """Of two workers drawn at random, the one with fewer unfinished requests (Mitzenmacher 2001)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def pick(self, workers: Sequence[Load]) -> int:
        n = len(workers)
        if n == 1:
            return 0
        one = int(self._rng.integers(n))
        other = (one + 1 + int(self._rng.integers(n - 1))) % n
        return one if workers[one].num_requests <= workers[other].num_requests else other


def make_router(kind: str, rng: Callable[[], np.random.Generator]) -> Router:
    """The router that a scenario calls `kind`; `rng` makes the random stream of those that draw."""
    makers: dict[str, Callable[[], Router]] = {
        "round-robin": RoundRobin,
        "random": lambda: Random(rng()),
        "least-requests": LeastRequests,
        "least-tokens": LeastTokens,
        "power-of-two-choices": lambda: PowerOfTwoChoices(rng()),
    }
    return makers[kind]()
