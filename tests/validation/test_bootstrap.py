"""The interval covers what it should, and blocks widen it where neighbours share their luck."""

from __future__ import annotations

import numpy as np

from sunsim.metrics.rows import Floats
from sunsim.validation.figures import error_interval, error_percent


def mean(values: Floats) -> Floats:
    return np.asarray(values.mean(axis=-1))[None]


def test_a_constant_error_has_no_spread() -> None:
    actual = np.random.default_rng(0).uniform(1, 2, 200)
    low, high = error_interval(actual * 1.02, actual, mean, block=5)
    np.testing.assert_allclose([low[0], high[0]], 2.0)


def test_the_interval_covers_the_true_error() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(100):
        actual = rng.uniform(9, 11, 200)
        simulated = actual * rng.normal(1.01, 0.05, 200)
        low, high = error_interval(simulated, actual, mean, block=1, seed=seed)
        covered += low[0] <= 1.0 <= high[0]
    assert 88 <= covered <= 99


def test_neighbours_that_share_their_luck_widen_it() -> None:
    rng = np.random.default_rng(2)
    actual = np.full(1000, 10.0)
    simulated = actual * (1 + np.repeat(rng.normal(0, 0.05, 50), 20))
    single, blocks = (error_interval(simulated, actual, mean, block) for block in (1, 20))
    assert blocks[1][0] - blocks[0][0] > 2.5 * (single[1][0] - single[0][0])


def test_nothing_against_nothing_is_no_error() -> None:
    assert error_percent(0, 0) == 0
    assert np.isnan(error_percent(1, 0))
    assert error_percent(3, 2) == 50
