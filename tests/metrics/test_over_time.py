"""Stretches of a day, and what arrives in each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.metrics.over_time import counts, edges, handy_s


@pytest.mark.parametrize(
    ("length_s", "most", "found"),
    [(86_400, 200, 600), (86_400, 96, 900), (60, 200, 0.5), (60, 60, 1), (61, 60, 2), (30 * 86_400, 10, 259_200)],
)
def test_lengths_that_people_count_in(length_s: float, most: int, found: float) -> None:
    assert handy_s(length_s, most) == found


@given(st.floats(0, 1e6), st.floats(0.5, 1e5), st.integers(1, 300))
def test_stretches_cover_a_time_once(begin_s: float, length_s: float, most: int) -> None:
    step_s = handy_s(length_s, most)
    found = edges(begin_s, begin_s + length_s, step_s)
    assert (found[0], found[-1]) == (begin_s, begin_s + length_s)
    assert len(found) - 1 <= most
    lasts_s = np.diff(found)
    assert lasts_s[:-1] == pytest.approx(step_s, abs=1e-9)
    assert length_s < step_s or step_s - 1e-6 <= lasts_s[-1] < 2 * step_s + 1e-6


def test_what_arrives_at_the_end_counts_to_the_last() -> None:
    arrival_s = np.array([0.0, 1.0, 2.5, 3.0, 4.0, 5.0])
    which = np.array([True, True, False, True, True, True])
    assert counts(arrival_s, which, edges(0.0, 5.0, 2.0)).tolist() == [2, 3]
