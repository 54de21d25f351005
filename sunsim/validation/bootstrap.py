"""How sure an error is: circular block bootstrap over requests, or slices of time, in the order of their time.

Requests that share steps share their luck, so single ones must not be drawn: blocks of neighbours are (Politis and
Romano, "A circular block-resampling procedure for stationary data", 1992). A block is drawn with both its sides, real
and simulated, since they belong to the same request.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from sunsim.metrics.rows import Floats

Reduce: TypeAlias = Callable[[Floats], Floats]

RESAMPLES = 1000
LEVEL = 0.95
FEWEST_BLOCKS = 10
PORTION = 50
"""Resamples in memory at once."""


def error_percent(simulated: float | Floats, actual: float | Floats) -> Floats:
    """``(simulated / actual - 1) * 100``; NaN where the actual value is 0 and the simulated one isn't, 0 where both are."""
    simulated, actual = np.asarray(simulated, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (simulated / actual - 1) * 100
    return np.where(actual == 0, np.where(simulated == 0, 0.0, np.nan), error)


def change_percent(value: float | None, base: float | None) -> float | None:
    """The same of one figure; None where one is missing or there is nothing to compare to."""
    if value is None or base is None:
        return None
    error = float(error_percent(value, base))
    return None if np.isnan(error) else error


def error_interval(
    simulated: Floats, actual: Floats, reduce: Reduce, block: int, seed: int = 0
) -> tuple[Floats, Floats]:
    """Ends of the 95 % percentile interval of the relative error, in percent, of each statistic that `reduce` gives.

    Args:
        simulated, actual: values of the same requests in the same order, [n].
        reduce: from values [..., n] to k statistics, [k, ...].
        block: neighbours that are drawn together; at most a tenth of all, so that there is something to draw.
        seed: of the draws.

    Returns:
        Lower and upper ends, [k] each.
    """
    n = len(actual)
    size = max(1, min(block, n // FEWEST_BLOCKS))
    rng = np.random.default_rng(seed)
    errors = []
    for done in range(0, RESAMPLES, PORTION):
        starts = rng.integers(n, size=(min(PORTION, RESAMPLES - done), -(-n // size), 1))
        drawn = (starts + np.arange(size)).reshape(len(starts), -1)[:, :n] % n
        errors.append(error_percent(reduce(simulated[drawn]), reduce(actual[drawn])))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(errors, axis=1), [tail, 1 - tail], axis=1)
    return low, high
