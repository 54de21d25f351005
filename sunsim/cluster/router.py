"""Who gets the next request: one small class a policy, usable by a simulated and by a live cluster alike."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol

import numpy as np


class Load(Protocol):
    """What a router may know of a worker."""

    @property
    def num_requests(self) -> int:
        """Requests given to the worker and not finished."""

    @property
    def num_tokens(self) -> int:
        """Tokens of these requests, prompts and what was generated: the KV load."""

    @property
    def promised_tokens(self) -> int:
        """Tokens that they will have, by what is known of their outputs; asked for with `output_lengths` alone."""


class Asked(NamedTuple):
    """What a router may know of a request.

    Attributes:
        session: that it is a round of.
        cached_tokens: of its prompt, those that the worker of an index would find in its cache.
        prompt_tokens: of it, and any that it has emitted before it comes to this stage.
        output_tokens: those to come, by what is known of its output.
    """

    session: int
    cached_tokens: Callable[[int], int]
    prompt_tokens: int = 0
    output_tokens: int = 1


class Router(Protocol):
    """Picks a worker for a request."""

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:
        """Index of the worker that gets the next request; `workers` is the same list until they have `changed`."""

    def eased(self, index: int, worker: Load) -> None:
        """The load of a worker may have fallen. Between two such calls it only grows."""

    def changed(self, moved: Sequence[int | None]) -> None:
        """Workers have come or gone: the index that each of those before has now, None if it has gone."""


def next_of(moved: Sequence[int | None], index: int) -> int:
    """Whose turn it is now, if it was that of an index before: its own, or if it has gone that of the next who has not."""
    n = len(moved)
    left = (now for step in range(n) if (now := moved[(index + step) % n]) is not None)
    return next(left, 0)


class Unaware:
    """Does not look at loads, or looks at them when it picks."""

    def eased(self, index: int, worker: Load) -> None:
        """Nothing to note."""

    def changed(self, moved: Sequence[int | None]) -> None:
        """Nothing to note."""


class RoundRobin(Unaware):
    """Each worker in turn."""

    def __init__(self) -> None:
        self._next = 0

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:  # noqa: ARG002
        index = self._next
        self._next = (index + 1) % len(workers)
        return index

    def changed(self, moved: Sequence[int | None]) -> None:
        self._next = next_of(moved, self._next)


class Random(Unaware):
    """Any worker, all equally likely."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:  # noqa: ARG002
        return int(self._rng.integers(len(workers)))


class _Least:
    """The worker with the least load; among equals the first after the one picked last, so that none is favoured.

    No worker is looked at that was more loaded, when last looked at, than the one picked: loads only grow until told.
    """

    def __init__(self, load: Callable[[Load], int]) -> None:
        self._load = load
        self._floors: list[int] = []  # what each worker's load is at least
        self._next = 0  # the one after the one picked last

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:  # noqa: ARG002
        floors = self._floors
        if not floors:
            floors += [0] * len(workers)
        while True:
            least = min(floors)
            i = self._first(least)
            load = self._load(workers[i])
            if load == least:
                self._next = i + 1
                return i
            floors[i] = load

    def eased(self, index: int, worker: Load) -> None:
        if self._floors:
            self._floors[index] = self._load(worker)

    def changed(self, moved: Sequence[int | None]) -> None:
        self._floors.clear()
        self._next = next_of(moved, self._next)

    def _first(self, floor: int) -> int:
        """The first worker with this floor, in turn."""
        floors = self._floors
        if floor in floors[self._next :]:
            return floors.index(floor, self._next)
        return floors.index(floor)


class LeastRequests(_Least):
    """The worker with the fewest unfinished requests."""

    def __init__(self) -> None:
        super().__init__(attrgetter("num_requests"))


class LeastTokens(_Least):
    """The worker whose unfinished requests hold the fewest tokens."""

    def __init__(self) -> None:
        super().__init__(attrgetter("num_tokens"))


class LeastPromisedTokens(_Least):
    """The worker whose unfinished requests will hold the fewest tokens when each has emitted its last."""

    def __init__(self) -> None:
        super().__init__(attrgetter("promised_tokens"))


class PowerOfTwoChoices(Unaware):
    """Of two workers drawn at random, the one with fewer unfinished requests (Mitzenmacher 2001)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:  # noqa: ARG002
        n = len(workers)
        if n == 1:
            return 0
        one = int(self._rng.integers(n))
        other = (one + 1 + int(self._rng.integers(n - 1))) % n
        return one if workers[one].num_requests <= workers[other].num_requests else other


class SessionAffinity(LeastRequests):
    """The worker that had the session's last round; a new session goes where the fewest unfinished requests are."""

    def __init__(self) -> None:
        super().__init__()
        self._had: dict[int, int] = {}

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:
        if asked is None:
            return super().pick(workers)
        index = self._had.get(asked.session)
        if index is None:
            index = super().pick(workers)
            self._had[asked.session] = index
        return index

    def changed(self, moved: Sequence[int | None]) -> None:
        super().changed(moved)
        had = ((session, moved[index]) for session, index in self._had.items())
        self._had = {session: index for session, index in had if index is not None}


class PrefixAffinity(Unaware):
    """The worker that has the longest beginning of the prompt in its cache, of those that are not much more loaded.

    Among equals the one with the fewest unfinished requests, then the first after the one picked last.

    Args:
        max_imbalance: unfinished requests more than the least loaded worker that a worker may have.
    """

    def __init__(self, max_imbalance: int) -> None:
        self._most = max_imbalance
        self._next = 0

    def pick(self, workers: Sequence[Load], asked: Asked | None = None) -> int:
        n = len(workers)
        loads = [worker.num_requests for worker in workers]
        most = min(loads) + self._most
        best, best_rank = 0, (-1, 0)
        for step in range(n):
            index = (self._next + step) % n
            if loads[index] > most:
                continue
            rank = (asked.cached_tokens(index) if asked else 0, -loads[index])
            if rank > best_rank:
                best, best_rank = index, rank
        self._next = best + 1
        return best

    def changed(self, moved: Sequence[int | None]) -> None:
        self._next = next_of(moved, self._next)


def make_router(
    kind: str,
    rng: Callable[[], np.random.Generator],
    max_imbalance: int | None = None,
    *,
    promised: bool = False,
) -> Router:
    """The router that a scenario calls `kind`, but for those of `sunsim.cluster.adaptive_router`.

    Args:
        rng: makes the random stream of those that draw.
        promised: something is known of output lengths.
    """
    makers: dict[str, Callable[[], Router]] = {
        "round-robin": RoundRobin,
        "random": lambda: Random(rng()),
        "least-requests": LeastRequests,
        "least-tokens": LeastPromisedTokens if promised else LeastTokens,
        "power-of-two-choices": lambda: PowerOfTwoChoices(rng()),
        "session-affinity": SessionAffinity,
        "prefix-affinity": lambda: PrefixAffinity(max_imbalance or 0),
    }
    return makers[kind]()
