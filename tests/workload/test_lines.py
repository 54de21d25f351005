"""Lines over time against numerical integration and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.workload.lines import Floats, Lines, mean_product

RATES = st.floats(0, 100).map(lambda rate: round(rate, 3))
PIECES = st.lists(st.tuples(st.floats(0.01, 50), RATES, RATES), min_size=1, max_size=8)
FINE = 200_000


def lines_of(pieces: list[tuple[float, float, float]]) -> Lines:
    widths, first, last = np.array(pieces).T
    return Lines(np.append(0.0, np.cumsum(widths)), first, last)


def summed(lines: Lines, time_s: float) -> float:
    """The integral up to a time by the midpoint rule, without any of the class's own sums."""
    edge_s = np.linspace(0, time_s, FINE + 1)
    return float(lines.at((edge_s[1:] + edge_s[:-1]) / 2).mean() * time_s)


@given(PIECES, st.floats(0, 0.999))
@settings(max_examples=50, deadline=None)
def test_the_time_of_an_integral_is_where_summing_reaches_it(
    pieces: list[tuple[float, float, float]], share: float
) -> None:
    lines = lines_of(pieces)
    total = float(lines.integral[-1])
    (time_s,) = lines.where(np.array([share * total]))
    # A jump inside a step of the sum is off by at most that step.
    step = 2 * len(pieces) * 100 * lines.end_s / FINE
    assert summed(lines, time_s) == pytest.approx(share * total, rel=1e-6, abs=step)


@given(PIECES, st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_times_rise_with_the_integral_and_stay_inside(
    pieces: list[tuple[float, float, float]], shares: list[float]
) -> None:
    lines = lines_of(pieces)
    times_s = lines.where(np.sort(shares) * lines.integral[-1])
    assert (np.diff(times_s) >= 0).all()
    assert ((times_s >= 0) & (times_s <= lines.end_s)).all()


@given(PIECES, st.lists(st.floats(0.001, 400), max_size=6), st.floats(0.1, 1))
def test_splitting_and_cutting_change_no_value(
    pieces: list[tuple[float, float, float]], more_s: list[float], share: float
) -> None:
    lines = lines_of(pieces)
    parted, cut = lines.split(np.array(more_s)), lines.until(share * lines.end_s)
    inside_s = np.linspace(0, lines.end_s, 101)[:-1]
    assert parted.at(inside_s) == pytest.approx(lines.at(inside_s), abs=1e-9)
    assert parted.integral[-1] == pytest.approx(lines.integral[-1], abs=1e-9)
    assert {*more_s} & {*parted.edge_s} == {time_s for time_s in more_s if time_s <= lines.end_s}
    assert cut.end_s == share * lines.end_s
    before_s = inside_s[inside_s < cut.end_s]
    assert cut.at(before_s) == pytest.approx(lines.at(before_s), abs=1e-9)


def test_a_ramp_has_the_root_of_its_square() -> None:
    ramp = Lines.between(np.array([0.0, 10.0]), np.array([0.0, 4.0]))
    area = np.array([0.0, 0.2, 5.0, 20.0])
    assert ramp.where(area) == pytest.approx(np.sqrt(area * 5), rel=1e-15)
    down = Lines.between(np.array([0.0, 10.0]), np.array([4.0, 0.0]))
    assert down.where(20 - area[::-1]) == pytest.approx(10 - np.sqrt(area[::-1] * 5), rel=1e-7)


def test_where_nothing_comes_is_passed_over() -> None:
    lines = Lines.steps(np.array([0.0, 5.0, 7.0, 9.0, 12.0]), np.array([0.0, 2.0, 0.0, 1.0]))
    assert lines.where(np.array([0.0, 1.0, 3.999, 4.0, 6.0])).tolist() == [5.0, 5.5, 6.9995, 9.0, 11.0]
    assert lines.at(np.array([4.0, 5.0, 7.0, 8.9, 9.0])).tolist() == [0.0, 2.0, 0.0, 0.0, 1.0]


@given(PIECES, PIECES)
@settings(max_examples=30, deadline=None)
def test_a_weighted_mean_is_that_of_sums(
    pieces: list[tuple[float, float, float]], weights: list[tuple[float, float, float]]
) -> None:
    values, weight = lines_of(pieces), lines_of([(width, first + 1, last) for width, first, last in weights])
    end_s = min(values.end_s, weight.end_s)
    values, weight = values.until(end_s), weight.until(end_s)
    of_two = Lines(values.edge_s, np.stack([values.first, 0 * values.first + 3], 1), _two(values))
    edge_s = np.linspace(0, end_s, FINE + 1)
    middle_s = (edge_s[1:] + edge_s[:-1]) / 2
    weighed = weight.at(middle_s)
    expected = (values.at(middle_s) * weighed).sum() / weighed.sum()
    assert mean_product(of_two, weight) == pytest.approx([expected, 3.0], rel=1e-3, abs=0.05)


def _two(values: Lines) -> Floats:
    return np.stack([values.last, 0 * values.last + 3], 1)
