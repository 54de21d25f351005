"""Accepted drafts: shares against rates, equal luck for all, and as many steps as are expected."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sunsim.workload.acceptance import Acceptance, Rates, expected_steps, rates_of_length
from tests.accepted import accepted

RATES = (0.75, 0.55, 0.4)
MANY = 200_000


def of(*rates: float, seed: int = 1, expected: bool = False) -> Acceptance:
    return Acceptance(seed, [[Rates(0, rates)]], expected=expected)


def test_shares_are_the_rates_and_the_mean_length_follows() -> None:
    each = np.concatenate([accepted(of(*RATES), request, 0, 0, 9, MANY // 10, 3) for request in range(10)])
    for i, rate in enumerate(RATES):
        spread = (rate * (1 - rate) / each.size) ** 0.5
        assert abs((each > i).mean() - rate) < 4 * spread
    assert each.mean() + 1 == pytest.approx(1 + sum(RATES), rel=0.01)


def test_as_many_steps_as_the_tokens_take() -> None:
    for tokens in (1, 2, 7, 100):
        bursts = accepted(of(*RATES), 5, 0, 0, 9, tokens, 3) + 1
        assert bursts.sum() >= tokens > bursts[:-1].sum()


def test_steps_have_equal_luck_however_many_drafts_there_are() -> None:
    three = accepted(of(*RATES), 5, 0, 0, 9, 400, 3)
    for k in (1, 2):
        fewer = accepted(of(*RATES), 5, 0, 0, 9, 100, k)
        assert fewer.tolist() == np.minimum(three, k)[: fewer.size].tolist()
    better = accepted(of(0.8, 0.6, 0.5), 5, 0, 0, 9, 100, 3)
    assert (better >= three[: better.size]).all()
    assert (better > three[: better.size]).any()


@pytest.mark.parametrize("drafts", [1, 3, 4, 5, 50])
def test_luck_goes_on_where_it_was_left(drafts: int) -> None:
    whole = accepted(of(*RATES), 5, 0, 0, 9, 400, 3)
    rest = accepted(of(*RATES), 5, 0, drafts, 9, 50, 3)
    assert rest.tolist() == whole[drafts : drafts + rest.size].tolist()


def test_requests_and_seeds_differ_and_repeat() -> None:
    draws = {
        (seed, request): accepted(of(*RATES, seed=seed), request, 0, 0, 9, 100, 3).tolist()
        for seed, request in product((1, 2), (0, 1))
    }
    assert len({tuple(draw) for draw in draws.values()}) == 4
    assert accepted(of(*RATES, seed=2), 1, 0, 0, 9, 100, 3).tolist() == draws[2, 1]


def test_models_have_rates_of_their_own() -> None:
    acceptance = Acceptance(1, [[Rates(0, (1.0, 1.0))], [Rates(0, (1.0, 0.0))]])
    assert accepted(acceptance, 0, 0, 0, 9, 9, 2).tolist() == [2, 2, 2]
    assert accepted(acceptance, 0, 1, 0, 9, 9, 2).tolist() == [1] * 5


def test_rates_change_with_the_context_before_the_step() -> None:
    acceptance = Acceptance(1, [[Rates(0, (1.0, 1.0)), Rates(10, (1.0, 0.0)), Rates(12, (0.0, 0.0))]])
    # At 5 and 8 tokens three come at once, at 11 two, at 13 and from there on one.
    assert accepted(acceptance, 0, 0, 0, 5, 10, 2).tolist() == [2, 2, 1, 0, 0]
    assert accepted(acceptance, 0, 0, 0, 12, 3, 2).tolist() == [0, 0, 0]
    assert accepted(acceptance, 0, 0, 0, 5, 6, 2).tolist() == [2, 2]


def steps_by_enumeration(rates: tuple[float, ...], tokens: int) -> float:
    """The mean number of steps, over all outcomes of as many steps as there are tokens."""
    shares = [a - b for a, b in zip((1.0, *rates), (*rates, 0.0), strict=True)]
    mean = 0.0
    for outcome in product(range(len(shares)), repeat=tokens):
        ends = np.cumsum(outcome) + np.arange(1, tokens + 1)
        mean += (int(np.searchsorted(ends, tokens)) + 1) * float(np.prod([shares[i] for i in outcome]))
    return mean


@pytest.mark.parametrize("rates", [RATES, (0.5,), (1.0, 0.0), (0.0, 0.0)])
def test_expected_steps_are_the_mean_over_all_outcomes(rates: tuple[float, ...]) -> None:
    assert expected_steps(rates, 5).tolist() == pytest.approx(
        [0, *(steps_by_enumeration(rates, t) for t in range(1, 6))]
    )


def test_expected_steps_are_those_of_draws_on_average() -> None:
    acceptance = of(*RATES)
    steps = [accepted(acceptance, request, 0, 0, 9, 60, 3).size for request in range(4000)]
    spread = np.std(steps) / len(steps) ** 0.5
    assert abs(np.mean(steps) - expected_steps(RATES, 60)[60]) < 4 * spread


@pytest.mark.parametrize("k", [1, 2, 3])
def test_an_expected_request_takes_the_mean_number_of_steps_and_just_its_tokens(k: int) -> None:
    for tokens in (1, 2, 3, 5, 60, 3000):
        bursts = accepted(of(*RATES, expected=True), 0, 0, 0, 9, tokens, k) + 1
        assert bursts.size == round(expected_steps(RATES[:k], tokens)[tokens])
        assert bursts.sum() == tokens
        assert 1 <= bursts.min() <= bursts.max() <= k + 1
        assert bursts.max() - bursts.min() <= 1


def test_what_comes_at_longer_contexts_is_expected_with_their_rates() -> None:
    acceptance = Acceptance(1, [[Rates(0, (1.0,)), Rates(100, (0.0,))]], expected=True)
    assert accepted(acceptance, 0, 0, 0, 80, 40, 1).size == 10 + 20
    assert accepted(acceptance, 0, 0, 0, 100, 40, 1).size == 40


@pytest.mark.parametrize(
    ("length", "rates"), [(1.0, (0, 0, 0)), (2.5, (1, 0.5, 0)), (3.0, (1, 1, 0)), (4.0, (1, 1, 1))]
)
def test_rates_of_a_mean_length_vary_least(length: float, rates: tuple[float, ...]) -> None:
    assert rates_of_length(length, 3) == rates
