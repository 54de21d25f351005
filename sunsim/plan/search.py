"""The searches, without a simulator: each asks for verdicts and goes on when it gets them.

A search is a generator. It yields a list of questions, is sent the list of their answers (None to begin), and returns what
it found. An answer of None means that the budget is spent. So searches that do not depend on one another can be asked for all at
once (`together`), and tests can answer in the simulator's place.

All take for granted that more GPUs, fewer requests and looser limits never turn a pass into a failure. Simulated luck
can break that by a hair, so what was seen to break it is reported (`sunsim.plan.find`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Any, Protocol, TypeAlias, TypeVar

from sunsim.roles import Role

T = TypeVar("T")
Search: TypeAlias = Generator[list[Any], Any, T]


Sizes: TypeAlias = Mapping[Role, int]
"""Workers of roles whose numbers are searched."""
Prices: TypeAlias = Mapping[Role, float]
"""Of one worker of a role, in any unit; 1 of a role that is not named."""
NO_PRICES: Prices = {}


class Reason(StrEnum):
    """Why a search stopped."""

    FOUND = "found"
    NO_PASS = "no pass in range"  # the largest fails too
    NO_FAILURE = "no failure in range"  # the smallest passes too
    BUDGET = "budget spent"


class Judged(Protocol):
    """Whether something holds, and for which model it holds least."""

    @property
    def passes(self) -> bool: ...
    @property
    def worst_model(self) -> str: ...


J = TypeVar("J", bound=Judged)
JudgeSizes: TypeAlias = "Callable[[Sizes], Search[J | None]]"


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search over sizes; `sizes` are the smallest that pass, else None."""

    sizes: dict[Role, int] | None
    reason: Reason


def together(searches: Sequence[Search[T]]) -> Search[list[T]]:
    """Runs searches side by side; their results in order."""
    results: dict[int, T] = {}
    wanted: dict[int, list[Any]] = {}

    def step(i: int, answers: list[Any] | None) -> None:
        try:
            wanted[i] = searches[i].send(answers)
        except StopIteration as stop:
            wanted.pop(i, None)
            results[i] = stop.value

    for i in range(len(searches)):
        step(i, None)
    while wanted:
        answers = yield [question for questions in wanted.values() for question in questions]
        taken = 0
        for i, questions in list(wanted.items()):
            step(i, answers[taken : taken + len(questions)])
            taken += len(questions)
    return [results[i] for i in range(len(searches))]


def smallest(judge: Callable[[int], Search[J | None]], start: int, most: int) -> Search[tuple[int | None, Reason]]:
    """The smallest number from 1 to `most` that passes: bracketed from `start` in growing steps, then bisected."""
    low, high, step = 0, most + 1, 1
    n = min(max(start, 1), most)
    while high - low > 1:
        verdict = yield from judge(n)
        if verdict is None:
            return None, Reason.BUDGET
        if verdict.passes:
            high = n
        else:
            low = n
        if low and high <= most:
            n = (low + high) // 2
        else:
            n = max(1, high - step) if high <= most else min(most, low + step)
            step *= 2
    if high > most:
        return None, Reason.NO_PASS
    return high, Reason.NO_FAILURE if high == 1 else Reason.FOUND


def climb(low: Sizes, judge: JudgeSizes[J], limits: Sizes, prices: Prices = NO_PRICES) -> Search[Found]:
    """The cheapest sizes from `low` up that pass: least total first.

    Where sizes fail for a model, sizes that pass have more GPUs in one of the pools that serve it; no others are tried.
    """

    def cost(sizes: Sizes) -> float:
        return sum(size * prices.get(role, 1.0) for role, size in sizes.items())

    order = count()
    heap = [(cost(low), next(order), dict(low))]
    seen = {tuple(low.values())}
    while heap:
        _, _, sizes = heapq.heappop(heap)
        verdict = yield from judge(sizes)
        if verdict is None:
            return Found(None, Reason.BUDGET)
        if verdict.passes:
            return Found(sizes, Reason.FOUND)
        for role in reversed(sizes):
            more = sizes | {role: sizes[role] + 1}
            serves = role.model in {None, verdict.worst_model}
            if serves and more[role] <= limits[role] and tuple(more.values()) not in seen:
                seen.add(tuple(more.values()))
                heapq.heappush(heap, (cost(more), next(order), more))
    return Found(None, Reason.NO_PASS)


def rise(low: Sizes, judge: JudgeSizes[J], limits: Sizes) -> Search[Found]:
    """Sizes from `low` up that pass, all of them more by the same: by the least. A size stays at its limit."""

    def together_by(n: int) -> Sizes:
        return {role: min(size + n - 1, limits[role]) for role, size in low.items()}

    most = 1 + max(limits[role] - size for role, size in low.items())
    n, reason = yield from smallest(lambda n: judge(together_by(n)), 1, most)
    return Found(None, reason) if n is None else Found(dict(together_by(n)), Reason.FOUND)


def shrink(found: Found, judge: JudgeSizes[J], prices: Prices = NO_PRICES) -> Search[Found]:
    """Takes GPUs away one by one, the dearest first, as long as what is left passes; in the end one less of any fails."""
    sizes = found.sizes
    if sizes is None:
        return found
    dearest = sorted(sizes, key=lambda role: -prices.get(role, 1.0))
    untried = list(dearest)
    while untried:
        role = untried.pop(0)
        less = sizes | {role: sizes[role] - 1}
        if less[role] == 0:
            continue
        verdict = yield from judge(less)
        if verdict is None:
            return Found(sizes, Reason.BUDGET)
        if verdict.passes:
            sizes, untried = less, list(dearest)
    smallest_of_all = all(size == 1 for size in sizes.values())
    return Found(sizes, Reason.NO_FAILURE if smallest_of_all else Reason.FOUND)


def highest_rate(
    judge: Callable[[float], Search[J | None]], precision: float = 0.02, most: float = 8.0
) -> Search[tuple[float | None, float | None, Reason]]:
    """The highest multiple of the rate that passes, the lowest seen to fail, and why the search stopped.

    From 1, by a quarter up to `most` or down to ``1 / most``, then bisected (by the geometric mean) until the two are
    within `precision`.
    """
    low: float | None = None
    high: float | None = None
    rate = 1.0
    while low is None or high is None or high / low > 1 + precision:
        verdict = yield from judge(rate)
        if verdict is None:
            return low, high, Reason.BUDGET
        if verdict.passes:
            low = rate
        else:
            high = rate
        if low is not None and high is not None:
            rate = (low * high) ** 0.5
        elif low is not None:
            if rate >= most:
                return low, None, Reason.NO_FAILURE
            rate = min(most, rate * 1.25)
        else:
            if rate <= 1 / most:
                return None, high, Reason.NO_PASS
            rate = max(1 / most, rate / 1.25)
    return low, high, Reason.FOUND
