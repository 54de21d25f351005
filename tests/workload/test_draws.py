"""Samplers against closed forms."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from sunsim.workload.arrivals import draw_arrivals
from sunsim.workload.blocks import (
    Arrivals,
    AzureLengths,
    Constant,
    FixedLengths,
    Gamma,
    Lengths,
    Lognormal,
    LognormalLengths,
    Poisson,
)
from sunsim.workload.lengths import draw_lengths, longest
from sunsim.workload.shares import draw_models
from tests.workload.analytic_means import mean_lengths

DRAWS = 200_000
LOGNORMAL = LognormalLengths(
    prompt=Lognormal(median_tokens=1000, sigma=1.2, max_tokens=4000),
    output=Lognormal(median_tokens=2, sigma=0.8, max_tokens=10),
)
TABLES = [AzureLengths(kind="azure-conv"), AzureLengths(kind="azure-code")]
ALL_LENGTHS = [FixedLengths(prompt_tokens=7, output_tokens=3), LOGNORMAL, *TABLES]


def _draw(lengths: Lengths) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    prompt, output = np.random.default_rng(1).random((2, DRAWS))
    return draw_lengths(lengths, prompt, output)


def _table(kind: str) -> dict[str, Any]:
    text = files("sunsim.workload").joinpath("tables", f"{kind}.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@pytest.mark.parametrize("lengths", ALL_LENGTHS, ids=lambda lengths: lengths.kind)
def test_lengths_have_their_analytic_mean_and_maximum(lengths: Lengths) -> None:
    for tokens, mean, most in zip(_draw(lengths), mean_lengths(lengths), longest(lengths), strict=True):
        assert tokens.mean() == pytest.approx(mean, abs=max(1e-9, 5 * tokens.std() / DRAWS**0.5))
        assert tokens.min() >= 1
        assert tokens.max() <= most


@pytest.mark.parametrize("lengths", ALL_LENGTHS, ids=lambda lengths: lengths.kind)
def test_lengths_stay_within_bounds_at_the_ends_of_the_uniform_draw(lengths: Lengths) -> None:
    ends = np.array([0.0, 1 - 2.0**-53])
    for prompt_end in ends:
        prompt, output = draw_lengths(lengths, np.full(2, prompt_end), ends)
        assert ((prompt >= 1) & (prompt <= longest(lengths)[0])).all()
        assert ((output >= 1) & (output <= longest(lengths)[1])).all()


@pytest.mark.parametrize("lengths", TABLES, ids=lambda lengths: lengths.kind)
def test_a_table_reproduces_the_trace_it_was_made_from(lengths: AzureLengths) -> None:
    table = _table(lengths.kind)
    for tokens, name in zip(_draw(lengths), ("prompt_tokens", "output_tokens"), strict=True):
        trace = table[name]
        assert tokens.mean() == pytest.approx(trace["mean"], rel=0.01)
        for percentile, expected in trace["percentiles"].items():
            # Between the percentiles half a point lower and higher, one token of rounding aside.
            q = float(percentile[1:])
            low, high = np.percentile(tokens, [q - 0.5, q + 0.5])
            assert low - 1 <= expected <= high + 1


@pytest.mark.parametrize("lengths", TABLES, ids=lambda lengths: lengths.kind)
def test_a_table_keeps_how_prompt_and_output_go_together(lengths: AzureLengths) -> None:
    grid = np.asarray(_table(lengths.kind)["rank_grid"])
    prompt_uniform, output_uniform = np.random.default_rng(2).random((2, DRAWS))
    _, output = draw_lengths(lengths, prompt_uniform, output_uniform)
    median = np.median(output)
    for row, counts in enumerate(grid):
        inside = (prompt_uniform * len(grid)).astype(int) == row
        expected = counts[len(grid) // 2 :].sum() / counts.sum()
        # Many outputs equal the median in the code trace; their place among the ranks is not to be seen here.
        assert (output[inside] > median).mean() - 0.03 <= expected <= (output[inside] >= median).mean() + 0.03


def test_the_conversation_s_longest_prompts_get_short_answers() -> None:
    prompt, output = _draw(AzureLengths(kind="azure-conv"))
    assert output[prompt > np.quantile(prompt, 0.9)].mean() < 0.5 * output.mean()


@pytest.mark.parametrize("table", TABLES, ids=lambda lengths: lengths.kind)
def test_a_table_names_its_source_and_licence(table: AzureLengths) -> None:
    raw = _table(table.kind)
    assert "AzurePublicDataset" in raw["source"]
    assert raw["licence"] == "CC-BY 4.0"
    assert raw["requests_left_out"] == 0


@pytest.mark.parametrize(
    ("arrivals", "variation"),
    [
        (Poisson(rate_rps=50), 1.0),
        (Gamma(rate_rps=50, burstiness=0.25), 2.0),
        (Gamma(rate_rps=50, burstiness=1), 1.0),
        (Gamma(rate_rps=50, burstiness=4), 0.5),
        (Constant(rate_rps=50), 0.0),
    ],
)
def test_arrivals_have_their_rate_and_variation(arrivals: Arrivals, variation: float) -> None:
    times = draw_arrivals(arrivals, np.random.default_rng(3), 4000.0, None)
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    assert times[-1] < 4000
    assert times.size == pytest.approx(200_000, abs=5 * max(variation, 0.01) * 200_000**0.5)
    assert gaps.std() / gaps.mean() == pytest.approx(variation, abs=0.03)


def test_constant_arrivals_are_exact() -> None:
    times = draw_arrivals(Constant(rate_rps=10), np.random.default_rng(0), 1.0, None)
    assert times.tolist() == [index / 10 for index in range(10)]


def test_arrivals_need_an_end() -> None:
    with pytest.raises(ValueError, match="one of duration_s and requests must be given"):
        draw_arrivals(Poisson(rate_rps=1), np.random.default_rng(0), None, None)


def test_models_are_drawn_by_falling_share_whatever_their_order() -> None:
    uniform = np.array([0.0, 0.69, 0.7, 0.89, 0.9, 1 - 2.0**-53])
    assert draw_models([0.1, 0.7, 0.2], uniform).tolist() == [1, 1, 2, 2, 0, 0]
    assert draw_models([1.0], uniform).tolist() == [0] * 6


@pytest.mark.parametrize(
    ("rate_rps", "duration_s", "expected"), [(1.1, 30.0, 33), (10.0, 0.3, 3), (3.0, 1e4, 30_000), (1.1, 3e4, 33_000)]
)
def test_what_would_arrive_just_at_the_end_is_left_out(rate_rps: float, duration_s: float, expected: int) -> None:
    arrivals = draw_arrivals(Constant(rate_rps=rate_rps), np.random.default_rng(1), duration_s, None)
    assert arrivals.size == expected


def test_a_rate_so_low_that_times_leave_the_clock_leaves_what_is_before_the_end() -> None:
    arrivals = draw_arrivals(Constant(rate_rps=1e-9), np.random.default_rng(1), 10.0, None)
    assert arrivals.tolist() == [0.0]
