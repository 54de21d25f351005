"""Figures of a trace against closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sunsim.trace.statistics import statistics
from sunsim.workload.traces.rows import TraceRows


def rows(arrival_s: NDArray[np.float64], prompt_tokens: int = 10, output_tokens: int = 5) -> TraceRows:
    whole = np.ones(arrival_s.size, np.int64)
    return TraceRows(arrival_s, whole * prompt_tokens, whole * output_tokens, np.arange(arrival_s.size) + 2)


def test_equal_gaps_have_no_burstiness() -> None:
    found = statistics(rows(7.0 + np.arange(1201) / 8))
    assert (found["requests"], found["duration_s"], found["arrival_times"]) == (1201, 150.0, 1201)
    assert found["mean_rate_rps"] == found["peak_minute_rate_rps"] == found["peak_second_rate_rps"] == 8.0
    assert found["gap_cv"] == found["dispersion_minute"] == found["dispersion_second"] == 0.0
    assert (found["prompt_tokens_per_s"], found["output_tokens_per_s"]) == (80.0, 40.0)


def test_equal_gaps_of_tenths_have_none_either() -> None:
    found = statistics(rows(np.arange(1001, 1602) / 10))
    assert (found["duration_s"], found["peak_second_rate_rps"], found["peak_minute_rate_rps"]) == (60.0, 10.0, 10.0)
    assert found["dispersion_second"] == 0.0


def test_batches_disperse_by_their_size() -> None:
    # Every second second a batch of 6: counts 6 and 0 in turn, variance 9 over mean 3. Of each 6 gaps 5 are 0, one is 2.
    found = statistics(rows(np.repeat(np.arange(0.0, 202.0, 2.0), 6)[:-5]))
    assert (found["requests"], found["arrival_times"], found["duration_s"]) == (601, 101, 200.0)
    assert (found["mean_rate_rps"], found["peak_second_rate_rps"], found["dispersion_second"]) == (3.0, 6.0, 3.0)
    assert found["gap_cv"] == pytest.approx(5**0.5)
    assert (found["peak_minute_rate_rps"], found["dispersion_minute"]) == (3.0, 0.0)


def test_the_busiest_minute_begins_anywhere_and_dispersion_is_of_whole_minutes() -> None:
    # 60, 120 and 30 requests in whole minutes, each minute evenly, and 100 in half a minute.
    counts = {0.0: 60, 60.0: 120, 120.0: 30}
    arrivals = [start + 60.0 * np.arange(count) / count for start, count in counts.items()]
    found = statistics(rows(np.concatenate([*arrivals, 180.0 + np.linspace(0, 30, 100)])))
    assert found["dispersion_minute"] == pytest.approx(np.var([60, 120, 30]) / 70)
    assert found["mean_rate_rps"] == pytest.approx(309 / 210)
    # The second minute, and nothing else, has 120: the last 30 s have 100, with 15 before them.
    assert found["peak_minute_rate_rps"] == 2.0
    assert statistics(rows(arrivals[0] + 30.0))["peak_minute_rate_rps"] is None
    shifted = statistics(rows(np.concatenate([[0.0], 30.5 + arrivals[1] - 60.0, [200.0]])))
    assert shifted["peak_minute_rate_rps"] == 2.0


def test_poisson_arrivals_have_a_burstiness_of_one() -> None:
    found = statistics(rows(np.cumsum(np.random.default_rng(1).exponential(0.01, 400_000))))
    # Four standard errors: of a CV of n gaps 1 / sqrt(n), of a dispersion of n intervals sqrt(2 / n).
    assert found["gap_cv"] == pytest.approx(1.0, abs=4 / 400_000**0.5)
    assert found["dispersion_second"] == pytest.approx(1.0, abs=4 * (2 / 4000) ** 0.5)
    assert found["mean_rate_rps"] == pytest.approx(100.0, rel=4 / 400_000**0.5)


def test_lengths_are_exact_quantiles() -> None:
    arrival_s = np.arange(101.0)
    tokens = np.random.default_rng(2).permutation(101) + 1
    found = statistics(TraceRows(arrival_s, tokens, 102 - tokens, arrival_s.astype(np.int64)))
    expected = {"mean": 51.0, "min": 1, "p50": 51.0, "p90": 91.0, "p95": 96.0, "p99": 100.0, "max": 101}
    for name in ("prompt_tokens", "output_tokens"):
        assert found[name] == {**expected, "std": pytest.approx(((101**2 - 1) / 12) ** 0.5)}
    assert found["total_tokens"] == {**dict.fromkeys(expected, 102), "std": 0.0}


def test_models_are_counted_most_popular_first() -> None:
    made = rows(np.arange(6.0))
    names = replace(made, model=np.array([1, 0, 1, 3, 1, 3]), names=("a", "b", "c", "d"))
    assert list(statistics(names)["models"].items()) == [("b", 3), ("d", 2), ("a", 1)]
    assert statistics(made)["models"] is None


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_requests_have_no_rates(size: int) -> None:
    found = statistics(rows(np.full(size, 3.0)))
    assert (found["requests"], found["duration_s"]) == (size, 0.0)
    rates = [key for key in found if "rate" in key or "per_s" in key or "dispersion" in key or key == "gap_cv"]
    assert len(rates) == 8
    assert all(found[key] is None for key in rates)


@given(
    gaps_s=st.lists(st.sampled_from([0.0, 0.125, 1.0, 20.0]), min_size=1, max_size=200),
    scale=st.sampled_from([0.5, 2.0, 8.0]),
)
def test_scaling_the_rate_scales_rates_and_keeps_the_rest(gaps_s: list[float], scale: float) -> None:
    arrival_s = np.cumsum(gaps_s)
    slow, fast = statistics(rows(arrival_s)), statistics(rows(arrival_s / scale))
    assert fast["duration_s"] * scale == slow["duration_s"]
    assert _close(fast["gap_cv"], slow["gap_cv"])
    assert _close(fast["mean_rate_rps"], slow["mean_rate_rps"] and slow["mean_rate_rps"] * scale)
    assert fast["prompt_tokens"] == slow["prompt_tokens"]
    if slow["peak_minute_rate_rps"] is not None:
        assert slow["peak_minute_rate_rps"] <= len(arrival_s) / 60
        assert slow["peak_second_rate_rps"] <= slow["peak_minute_rate_rps"] * 60


def _close(found: Any, expected: Any) -> bool:
    return found is None if expected is None else bool(np.isclose(found, expected))
