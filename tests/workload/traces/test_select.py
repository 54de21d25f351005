"""Cut first, then scaled; what is left out is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.workload.traces.rows import TraceRows
from sunsim.workload.traces.select import NO_OUTPUT, NO_PROMPT, Window, refuse_too_late, select

TRACE = Path("trace.csv")


def rows(arrival_s: list[float], prompt_tokens: list[int], output_tokens: list[int]) -> TraceRows:
    size = len(arrival_s)
    return TraceRows(
        np.array(arrival_s, np.float64),
        np.array(prompt_tokens, np.int64),
        np.array(output_tokens, np.int64),
        np.arange(size) + 2,
        np.arange(size) % 3,
        ("a", "b", "c"),
    )


TEN = rows([float(i) for i in range(10)], [5, 0, 5, 5, 5, 5, 5, 5, 5, 5], [1, 0, 1, 0, 1, 1, 1, 1, 0, 1])


def test_all_are_used_by_default() -> None:
    selection = select(rows([0.5, 1.5], [1, 2], [3, 4]), Window(), TRACE)
    assert selection.rows.arrival_s.tolist() == [0.5, 1.5]
    assert (selection.in_file, selection.outside_window, selection.dropped) == (2, 0, {})


def test_requests_without_tokens_are_dropped_and_counted_once() -> None:
    selection = select(TEN, Window(), TRACE)
    assert selection.rows.line.tolist() == [2, 4, 6, 7, 8, 9, 11]
    assert selection.dropped == {NO_PROMPT: 1, NO_OUTPUT: 2}
    assert selection.rows.model is not None
    assert selection.rows.model.tolist() == [0, 2, 1, 2, 0, 1, 0]


def test_the_window_is_half_open_and_arrivals_count_from_its_start() -> None:
    selection = select(TEN, Window(start_s=2.0, duration_s=5.0), TRACE)
    assert selection.rows.arrival_s.tolist() == [0.0, 2.0, 3.0, 4.0]
    assert (selection.outside_window, selection.dropped) == (5, {NO_OUTPUT: 1})


@pytest.mark.parametrize("later_s", [0, 100_000, 5_000_000])
def test_the_window_ends_where_its_digits_say(later_s: int) -> None:
    tenths = rows([(10 * later_s + i) / 10 for i in range(10)], [5] * 10, [5] * 10)
    for start in range(9):
        for length in range(1, 10 - start):
            cut = select(tenths, Window((10 * later_s + start) / 10, length / 10), TRACE)
            assert cut.rows.arrival_s.tolist() == [i / 10 for i in range(length)]


def test_a_window_may_lie_beyond_the_clocks_end_in_the_traces_own_time() -> None:
    months = rows([0.0, 1e7, 1e7 + 0.5, 1.1e7], [5] * 4, [5] * 4)
    assert select(months, Window(1e7, 0.5), TRACE).rows.arrival_s.tolist() == [0.0]
    assert select(months, Window(duration_s=1e7 + 0.5), TRACE).rows.arrival_s.tolist() == [0.0, 1e7]


def test_the_number_counts_what_is_used_and_later_drops_are_outside() -> None:
    selection = select(TEN, Window(start_s=1.0, requests=2), TRACE)
    assert selection.rows.arrival_s.tolist() == [1.0, 3.0]
    assert (selection.outside_window, selection.dropped) == (6, {NO_PROMPT: 1, NO_OUTPUT: 1})


def test_what_is_cut_is_scaled() -> None:
    window = Window(start_s=2.0, duration_s=5.0, rate_scale=2.0)
    assert select(TEN, window, TRACE).rows.arrival_s.tolist() == [0.0, 1.0, 1.5, 2.0]


def test_further_reasons_come_last() -> None:
    long = {"too long": np.arange(10) > 6}
    assert select(TEN, Window(), TRACE, long).dropped == {NO_PROMPT: 1, NO_OUTPUT: 2, "too long": 2}


@pytest.mark.parametrize(
    ("window", "reasons"),
    [
        (Window(start_s=20.0), "10 outside the window"),
        (Window(start_s=3.0, duration_s=0.5), "9 outside the window, 1 without an output token"),
    ],
)
def test_a_window_without_requests_is_refused(window: Window, reasons: str) -> None:
    with pytest.raises(InputError) as caught:
        select(TEN, window, TRACE)
    assert str(caught.value) == f"trace.csv: no request is left of 10 ({reasons}), must be at least one"


def test_a_trace_may_be_long_but_not_what_is_played() -> None:
    long = rows([0.0, 2e7], [1, 1], [1, 1])
    with pytest.raises(
        InputError, match=r"trace.csv:3: the request arrives at 20,000,000 s, must arrive by 8,640,000 s: "
    ):
        refuse_too_late(select(long, Window(), TRACE), TRACE)
    for window in (Window(rate_scale=10.0), Window(start_s=1.9e7), Window(duration_s=100.0)):
        refuse_too_late(select(long, window, TRACE), TRACE)


@given(
    requests=st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40).map(
        sorted
    ),
    start_s=st.floats(0, 1e4),
    duration_s=st.none() | st.floats(1.0, 1e5),
    number=st.none() | st.integers(1, 20),
    scale=st.floats(0.1, 100),
)
def test_every_request_is_used_or_counted_and_scaling_changes_only_arrivals(
    requests: list[tuple[float, int, int]], start_s: float, duration_s: float | None, number: int | None, scale: float
) -> None:
    trace = rows([r[0] for r in requests], [r[1] for r in requests], [r[2] for r in requests])
    try:
        cut = select(trace, Window(start_s, duration_s, number), TRACE)
    except InputError:
        return
    scaled = select(trace, Window(start_s, duration_s, number, scale), TRACE)
    assert len(cut.rows) + cut.outside_window + sum(cut.dropped.values()) == cut.in_file == len(trace)
    assert (cut.rows.arrival_s >= 0).all()
    assert (np.diff(scaled.rows.arrival_s) >= 0).all()
    assert np.array_equal(scaled.rows.arrival_s, cut.rows.arrival_s / scale)
    assert (scaled.dropped, scaled.outside_window) == (cut.dropped, cut.outside_window)
    for name in ("prompt_tokens", "output_tokens", "line", "model"):
        assert np.array_equal(getattr(scaled.rows, name), getattr(cut.rows, name))
