"""Times compare as they are written, however long the run; a number and an array convert to the same bits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sunsim.clock import END_PS, MAX_S, PS_PER_S, since_s, to_ps, to_s

stamps = st.integers(0, END_PS)


@given(stamps)
@example(2**53 + 1)
@example(END_PS - 1)
def test_a_number_and_an_array_become_the_nearest_seconds(ps: int) -> None:
    seconds = to_s(ps)
    assert to_s(np.array([0, ps])).tolist() == [0.0, seconds]
    exact = Fraction(ps, PS_PER_S)
    others = (np.nextafter(seconds, 0.0), np.nextafter(seconds, np.inf))
    assert all(abs(exact - Fraction(seconds)) <= abs(exact - Fraction(float(other))) for other in others)


@given(st.floats(0, MAX_S))
def test_a_number_and_an_array_become_the_same_picoseconds(seconds: float) -> None:
    assert to_ps(np.array([seconds])).tolist() == [to_ps(seconds)]


@given(st.integers(0, int(MAX_S) * 10**7))
def test_seconds_of_15_digits_are_what_they_say_on_the_clock(tenths_of_us: int) -> None:
    assert to_ps(tenths_of_us / 10**7) == tenths_of_us * 10**5


@given(st.integers(0, 8192 * PS_PER_S - 1))
def test_in_the_first_hours_seconds_hold_every_picosecond(ps: int) -> None:
    assert to_ps(to_s(ps)) == ps


@given(st.lists(st.floats(0, MAX_S), min_size=2))
def test_what_is_later_is_not_earlier_on_the_clock(seconds: list[float]) -> None:
    assert (np.diff(to_ps(np.sort(np.array(seconds)))) >= 0).all()


@given(st.integers(0, 10**8), st.integers(0, 10**8))
@example(3, 1)
@example(81_923_003, 81_923_001)
def test_a_difference_is_what_the_digits_say(tenths: int, start: int) -> None:
    assert since_s(np.array([tenths / 10]), start / 10).tolist() == [(tenths - start) / 10]
