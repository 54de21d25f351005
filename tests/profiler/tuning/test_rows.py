"""Answers are judged token by token, and shares come with intervals."""

import numpy as np
import pytest

from profiler.tuning.rows import judged, of_ratios, row, table, wilson, with_seeds


def test_an_answer_is_exact_only_with_its_end_and_tokens_count_in_their_places() -> None:
    found = judged([[1, 2, 9], [1, 2], [3, 1, 2], [1, 2, 9, 9]], [[1, 2, 9]] * 4)
    assert found.exact.tolist() == [True, False, False, False]
    assert found.matched.tolist() == [3, 2, 0, 3]
    assert found.wanted.tolist() == [3] * 4


def test_an_answer_may_end_with_any_token_that_ends_one() -> None:
    found = judged([[1, 9], [1, 8], [1, 7], [8, 9]], [[1, 9], [1, 9], [1, 9], [9, 9]], [9, 8])
    assert found.exact.tolist() == [True, True, False, False]
    assert found.matched.tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # From the formula as printed by Wilson, with z = 1.96.
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


def ones(share: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(count) < share * count).astype(int), np.ones(count, int)


def test_the_interval_of_a_ratio_of_ones_is_that_of_a_share() -> None:
    half = 1.959964 * np.sqrt(0.3 * 0.7 / 1000)
    assert of_ratios([ones(0.3, 1000)]) == pytest.approx((0.3 - half, 0.3 + half))
    # Four independent ones have half of the error in the mean.
    assert of_ratios([ones(0.3, 1000)] * 4) == pytest.approx((0.3 - half / 2, 0.3 + half / 2))


def test_the_interval_of_a_ratio_is_that_of_resampled_requests() -> None:
    draws = np.random.default_rng(0)
    wanted = draws.integers(1, 40, 500)
    matched = draws.binomial(wanted, draws.beta(4, 1, 500))
    chosen = draws.integers(500, size=(4000, 500))
    resampled = np.quantile(matched[chosen].sum(1) / wanted[chosen].sum(1), [0.025, 0.975])
    assert of_ratios([(matched, wanted)]) == pytest.approx(resampled, abs=0.003)


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_intervals_cover_the_mean_over_all_seeds_there_could_be(spread: float) -> None:
    draws = np.random.default_rng(0)
    tries, seeds, requests, mean = 300, 3, 500, 0.8
    right = draws.binomial(requests, draws.normal(mean, spread, (tries, seeds)).clip(0, 1))
    ends = [with_seeds(wilson(int(of.sum()), requests * seeds), (of / requests).tolist()) for of in right]
    # Two standard deviations of such a count below 95 %.
    assert sum(low <= mean <= high for low, high in ends) >= tries * (0.95 - 2 * np.sqrt(0.95 * 0.05 / tries))


def test_two_seeds_do_not_say_how_far_seeds_spread() -> None:
    assert with_seeds((0.4, 0.6), [0.1, 0.9]) == (0.4, 0.6)


def test_a_ratio_of_sums_weighs_long_responses_more() -> None:
    found = row("full", "sums", {"0": judged([[2], [3] * 9], [[1], [3] * 9])})
    assert found["token_accuracy"] == pytest.approx(0.9)
    assert found["exact_match"] == 0.5


def test_a_row_of_one_seed_has_wilsons_interval_and_counts_requests_of_all_seeds() -> None:
    run = judged([[1]] * 3 + [[2]], [[1]] * 4)
    one, three = row("full", "sums", {"0": run}), row("full", "sums", dict.fromkeys("012", run))
    assert (one["low"], one["high"]) == wilson(3, 4)
    assert (one["requests"], one["seeds"]) == (4, 1)
    assert (three["requests"], three["seeds"], three["exact_match"]) == (12, 3, 0.75)
    assert three["low"] < 0.75 < three["high"]
    assert three["exact_match_by_seed"] == {"0": 0.75, "1": 0.75, "2": 0.75}


def test_several_seeds_that_are_right_throughout_are_no_certainty() -> None:
    run = judged([[1]] * 10, [[1]] * 10)
    found = row("full", "sums", dict.fromkeys("012", run))
    assert (found["low"], found["high"]) == wilson(30, 30)


def test_seeds_that_differ_widen_the_intervals_beyond_those_of_their_requests() -> None:
    runs = {str(right): judged([[1]] * right + [[2]] * (20 - right), [[1]] * 20) for right in (8, 10, 12)}
    found = row("full", "sums", runs)
    half = 4.30265 * 0.1 / np.sqrt(3)  # Student's t of two degrees of freedom; the shares' deviation is 0.1
    for low, high in (("low", "high"), ("token_accuracy_low", "token_accuracy_high")):
        assert (found[low], found[high]) == pytest.approx((0.5 - half, 0.5 + half))


def test_the_table_has_a_line_a_method_and_a_column_a_task() -> None:
    runs = {"0": judged([[1]], [[1]])}
    lines = table([row("base", "a", runs), row("full", "a", runs), row("full", "b", runs)]).splitlines()
    assert lines[0] == "| method | a | b |"
    assert lines[2] == "| base | 100.0 % (20.7 to 100.0), tokens 100.0 % |  |"
    assert lines[3].startswith("| full | 100.0 %")
