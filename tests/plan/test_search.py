"""The searches, with answers from a formula instead of a simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.plan.find import _problem
from sunsim.plan.search import Found, Prices, Reason, Search, Sizes, climb, highest_rate, shrink, smallest, together
from sunsim.roles import Role, Stage

T = TypeVar("T")

P1, P2, D = Role(Stage.PREFILL, "m1"), Role(Stage.PREFILL, "m2"), Role(Stage.DECODE, None)


@dataclass(frozen=True)
class Answer:
    passes: bool
    worst_model: str = "m1"


def answered(search: Search[T], answer: Callable[[Any], Answer | None]) -> tuple[T, list[Any]]:
    """What a search returns, and what it asked."""
    asked = []
    try:
        questions = next(search)
        while True:
            asked += questions
            questions = search.send([answer(question) for question in questions])
    except StopIteration as stop:
        return stop.value, asked


def judge(question: Any) -> Search[Answer | None]:
    answer: Answer | None = (yield [question])[0]
    return answer


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_smallest_finds_the_edge_from_anywhere(edge: int, start: int, most: int) -> None:
    (found, reason), asked = answered(smallest(judge, start, most), lambda n: Answer(n >= edge))
    if edge > most:
        assert (found, reason) == (None, Reason.NO_PASS)
        assert most in asked
    else:
        assert (found, reason) == (edge, Reason.NO_FAILURE if edge == 1 else Reason.FOUND)
        assert edge in asked
        assert edge == 1 or edge - 1 in asked
    assert len(asked) == len(set(asked)) <= 14


def test_smallest_stops_with_the_budget() -> None:
    (found, reason), asked = answered(smallest(judge, 4, 60), lambda n: Answer(passes=False) if n < 6 else None)
    assert (found, reason, asked) == (None, Reason.BUDGET, [4, 5, 7])


needs = st.integers(1, 4)


@given(needs, needs, needs, st.integers(0, 3))
def test_climb_finds_the_cheapest_corner_of_a_staircase(p1: int, p2: int, d: int, relief: int) -> None:
    # Each decode GPU beyond d saves one prefill GPU of each model, at most `relief` of them.
    def answer(sizes: Sizes) -> Answer:
        spare = min(max(sizes[D] - d, 0), relief)
        short = [m for m, at, need in (("m1", P1, p1), ("m2", P2, p2)) if sizes[at] < max(1, need - spare)]
        if sizes[D] < d:
            return Answer(passes=False, worst_model="m2")
        return Answer(not short, short[0] if short else "m1")

    limits = dict.fromkeys((P1, P2, D), 9)
    found, _ = answered(climb(dict.fromkeys((P1, P2, D), 1), judge, limits), answer)
    every = [dict(zip(limits, sizes, strict=True)) for sizes in product(range(1, 10), repeat=3)]
    cheapest = min(sum(sizes.values()) for sizes in every if answer(sizes).passes)
    assert found.sizes
    assert answer(found.sizes).passes
    assert sum(found.sizes.values()) == cheapest


def test_climb_only_adds_to_pools_that_serve_who_fails() -> None:
    _, asked = answered(climb({P1: 1, P2: 1, D: 1}, judge, {P1: 3, P2: 3, D: 2}), lambda _: Answer(passes=False))
    assert all(sizes[P2] == 1 for sizes in asked)
    assert {(sizes[P1], sizes[D]) for sizes in asked} == set(product((1, 2, 3), (1, 2)))


def test_climb_says_when_nothing_passes_and_when_the_budget_is_spent() -> None:
    search = climb({D: 1}, judge, {D: 2})
    assert answered(search, lambda _: Answer(passes=False))[0] == Found(None, Reason.NO_PASS)
    search = climb({D: 1}, judge, {D: 2})
    assert answered(search, lambda _: None)[0] == Found(None, Reason.BUDGET)


@given(needs, needs)
def test_shrink_leaves_nothing_that_can_go(p: int, d: int) -> None:
    found, _ = answered(
        shrink(Found({P1: 5, D: 5}, Reason.FOUND), judge), lambda sizes: Answer(sizes[P1] >= p and sizes[D] >= d)
    )
    assert found == Found({P1: p, D: d}, Reason.NO_FAILURE if p == d == 1 else Reason.FOUND)


@given(st.floats(0.05, 20))
def test_highest_rate_brackets_the_knee(knee: float) -> None:
    (low, high, reason), asked = answered(highest_rate(judge), lambda rate: Answer(rate <= knee))
    if knee >= 8:
        assert (low, high, reason) == (8, None, Reason.NO_FAILURE)
    elif knee < 1 / 8:
        assert (low, high, reason) == (None, 1 / 8, Reason.NO_PASS)
    else:
        assert low is not None
        assert high is not None
        assert low <= knee < high <= low * 1.02
    assert len(asked) < 20


def test_together_asks_at_once_and_keeps_answers_apart() -> None:
    searches = [smallest(judge, 1, 9), smallest(lambda n: judge(n + 100), 1, 9)]
    found, asked = answered(together(searches), lambda n: Answer(3 <= n <= 9 or n > 101))
    assert found == [(3, Reason.FOUND), (2, Reason.FOUND)]
    assert asked[:4] == [1, 101, 2, 102]


def test_together_of_nothing_is_nothing() -> None:
    with pytest.raises(StopIteration) as stop:
        next(together([]))
    assert stop.value.value == []


@dataclass(frozen=True)
class FakeBench:
    """Judges by a formula; `_problem` asks it for no more."""

    edge: dict[Role, int]
    largest: int = 32
    prices: Prices = field(default_factory=dict)
    knobs: dict[Role, Any] = field(default_factory=dict)

    @property
    def most(self) -> dict[Role, int]:
        return dict.fromkeys(self.edge, self.largest)

    @property
    def gpus(self) -> dict[Role, int]:
        return dict.fromkeys(self.edge, 1)

    def judge(self, sizes: Sizes, model: str | None = None) -> Search[Answer | None]:  # noqa: ARG002 - as the bench has it
        return judge(all(sizes[c] >= least for c, least in self.edge.items()))


@pytest.mark.parametrize("needed", [3, 20, 32, 33])
def test_plenty_of_the_others_that_was_too_little_does_not_make_the_largest_pools_fail(needed: int) -> None:
    # Both are guessed to need one, so eight of the other are taken for plenty.
    bench: Any = FakeBench({P1: needed, D: needed})
    found, _ = answered(_problem(bench, {P1: 1, D: 1}, "m1", [P1, D]), Answer)
    assert found == (Found({P1: needed, D: needed}, Reason.FOUND) if needed <= 32 else Found(None, Reason.NO_PASS))
