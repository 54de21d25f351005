"""The worst window: by hand, against a search of every window, and in a burst that a mean hides."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.metrics.rows import Window
from sunsim.metrics.worst import FEWEST, Windows, Worst, worst_window
from sunsim.records import ArmResult
from sunsim.report.summary import tables
from tests.metrics.synthetic import table, toy_summary, toy_worker


def lowest(arrivals: list[int], met: list[bool], end: int, length: int, fewest: int) -> float:
    """The lowest share by the definition, one window after the other; times are whole milliseconds."""
    number = len(arrivals)
    shares = [sum(met) / number]
    # The window that ends with the measuring begins earlier where it holds too few.
    first = [arrivals.index(at) for at in arrivals if at + length <= end]
    begun = [[j for j in range(i, number) if arrivals[j] < arrivals[i] + length or j < i + fewest] for i in first]
    last = [j for j in range(number) if arrivals[j] >= end - length or j >= number - fewest]
    shares += [sum(met[j] for j in held) / len(held) for held in [*begun, last] if len(held) >= fewest]
    return min(shares)


@given(
    gaps=st.lists(st.integers(0, 40) | st.just(100), min_size=1, max_size=60),
    length=st.sampled_from([1, 100, 200, 350, 5000]),
    fewest=st.integers(1, 8),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_it_is_the_lowest_share_of_every_window(gaps: list[int], length: int, fewest: int, data: st.DataObject) -> None:
    arrivals = np.cumsum(gaps).tolist()
    met = data.draw(st.lists(st.booleans(), min_size=len(gaps), max_size=len(gaps)))
    found = worst_window(
        np.array(arrivals) / 1000, np.array(met), Window(0.0, arrivals[-1] / 1000), length / 1000, fewest
    )
    assert found.share == pytest.approx(lowest(arrivals, met, arrivals[-1], length, fewest), abs=1e-12)


def test_requests_on_the_edge_of_a_window_are_in_the_next() -> None:
    # A request each 0.1 s: windows of 3 s hold 30, whatever the sums of seconds are rounded to.
    arrivals = np.arange(1000) / 10
    found = Windows.of(arrivals, Window(0.0, 99.9), 3.0)
    assert found.sizes[:-1].tolist() == [30] * (len(found.sizes) - 1)
    assert found.sizes[-1] == 31  # the last arrival counts as inside where measuring ends


def test_a_window_of_few_requests_goes_on_until_it_holds_enough() -> None:
    arrivals = np.arange(100.0) * 30
    met = np.ones(100, np.bool_)
    met[50] = False
    assert worst_window(arrivals, met, Window(0.0, arrivals[-1]), 60.0).share == 1 - 1 / FEWEST


def test_too_few_requests_have_no_window_but_the_whole() -> None:
    met = np.array([True] * (FEWEST - 2) + [False])
    arrivals = np.arange(0.0, 100.0 * len(met), 100.0)
    assert worst_window(arrivals, met, Window(0.0, arrivals[-1]), 60.0) == Worst((len(met) - 1) / len(met), 0.0)
    assert worst_window(np.empty(0), np.empty(0, np.bool_), Window(0.0, 1.0), 60.0) == Worst(None, None)


def test_a_burst_that_the_mean_hides_is_all_in_the_worst_window() -> None:
    # 40 minutes at 2 requests/s, and 170 more in 12 s, in which everybody waits.
    calm, burst = np.arange(0, 2400, 0.5), 1200 + np.arange(170) * 12 / 170
    arrivals = np.sort(np.concatenate([calm, burst]))
    met = ~((arrivals >= 1200) & (arrivals < 1212))
    assert 0.96 <= met.mean() < 0.97
    found = worst_window(arrivals, met, Window(0.0, 2399.5), 60.0)
    inside = (arrivals >= 1200) & (arrivals < 1260)
    begins = (arrivals >= 1152) & (arrivals < 1212)
    assert found.share == min(met[inside].mean(), met[begins].mean())
    assert found.share is not None
    assert found.share < 0.4
    assert ceil(found.start_s or 0) in range(1152, 1201)


def test_it_is_given_beside_the_mean_of_all_and_of_each_model() -> None:
    stamps = {"decode_worker": "d", "prefill_worker": "p"}
    rows = table(
        *(
            {
                "arrival_s": float(i),
                "first_token_s": i + (9.0 if 40 <= i < 60 and i % 2 else 0.1),
                "last_token_s": i + 10.0,
                "model": f"m{1 + i % 2}",
                **stamps,
            }
            for i in range(200)
        )
    )
    arms = [ArmResult(rows, [toy_worker("p", "prefill"), toy_worker("d", "decode")])]
    summary = toy_summary(*arms, slo={"ttft_ms": 500.0}, worst_window_s=20.0)
    (entry,) = summary["arms"].values()
    assert entry["slo_attainment"] == 0.95
    assert (entry["worst_window_slo_attainment"], entry["worst_window_start_s"]) == (0.5, 40.0)
    # Of each model there are ten in 20 s, so its window lasts twice as long.
    assert entry["models"]["m1"]["worst_window_slo_attainment"] == 1.0
    assert entry["models"]["m2"]["worst_window_slo_attainment"] == 0.5
    block = tables(summary)[0]
    assert block.rows[0][block.headers.index("worst\n20 s")] == "50.0 %"


@pytest.mark.parametrize(("slo", "length_s"), [({}, None), ({}, 20.0), ({"ttft_ms": 500.0}, None)])
def test_there_is_none_without_an_slo_or_a_length(slo: dict[str, float], length_s: float | None) -> None:
    rows = table(*({"arrival_s": float(i), "first_token_s": i + 0.1, "last_token_s": i + 1.0} for i in range(50)))
    summary = toy_summary(ArmResult(rows, [toy_worker("p", "prefill")]), slo=slo, worst_window_s=length_s)
    assert summary["arms"]["a"]["worst_window_slo_attainment"] is None
    assert not any("worst" in header for header in tables(summary)[0].headers)
