"""Figures of both sides: what any record, a worker's run or an arm of a cluster, and its simulation come down to.

How sure an error is: circular block bootstrap over requests, or slices of time, in the order of their time. Requests that
share steps share their luck, so single ones must not be drawn: blocks of neighbours are (Politis and Romano, "A circular
block-resampling procedure for stationary data", 1992). A block is drawn with both its sides, real and simulated, since
they belong to the same request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from sunsim.metrics.rows import Floats

Reduce: TypeAlias = Callable[[Floats], Floats]

RESAMPLES = 1000
LEVEL = 0.95
FEWEST_BLOCKS = 10
PORTION = 50
"""Resamples in memory at once."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both sides.

    Attributes:
        error_percent: simulated against actual, of a share in percentage points; None where the actual value is 0, and
            where it would say nothing.
        low_percent, high_percent: its 95 % interval; None where a record gives but one value.
        tolerance_percent: how far off it may be; None if nothing is said.
        holds: whether it is within; None without a tolerance.
    """

    tag: str
    actual: float | None
    simulated: float | None
    error_percent: float | None
    low_percent: float | None = None
    high_percent: float | None = None
    tolerance_percent: float | None = None
    holds: bool | None = None

    @classmethod
    def of(
        cls, tag: str, actual: float, simulated: float, low: float | None = None, high: float | None = None
    ) -> "Figure":
        """With its relative error; NaN is not known."""
        error = change_percent(simulated, actual)
        return cls(tag, float(actual), float(simulated), error, known(low), known(high))

    def held_to(self, tolerance_percent: float | None) -> "Figure":
        """The same with a tolerance; one that cannot be compared does not hold."""
        if tolerance_percent is None:
            return self
        holds = self.error_percent is not None and abs(self.error_percent) <= tolerance_percent
        return replace(self, tolerance_percent=tolerance_percent, holds=holds)


@dataclass(frozen=True, slots=True)
class Compared:
    """A record beside its simulation."""

    name: str
    figures: list[Figure]

    @property
    def judged(self) -> list[Figure]:
        """The figures that have a tolerance."""
        return [figure for figure in self.figures if figure.holds is not None]

    @property
    def holds(self) -> bool:
        """Whether no tolerance is broken."""
        return all(figure.holds for figure in self.judged)

    def figure(self, tag: str) -> Figure | None:
        """One figure; None if there is none of that name."""
        return next((figure for figure in self.figures if figure.tag == tag), None)

    def error_percent(self, tag: str) -> float | None:
        """Of one figure; None if there is none."""
        figure = self.figure(tag)
        return figure.error_percent if figure else None


def known_errors(compared: Sequence[Compared], tag: str) -> list[float]:
    """Errors of one figure in percent, of those that have one."""
    return [error for each in compared if (error := each.error_percent(tag)) is not None]


def signed_percent(error: float | None) -> str:
    """+0.42 %, -12.0 %; never -0.00 %."""
    if error is None:
        return "-"
    text = f"{error:+.2f}" if abs(error) < 9.995 else f"{error:+.1f}"
    return f"{text.replace('-0.00', '+0.00')} %"


def bare_percent(error: float | None) -> str:
    """The same without the sign of percent, which the header has."""
    return signed_percent(error).removesuffix(" %")


def error_percent(simulated: float | Floats, actual: float | Floats) -> Floats:
    """``(simulated / actual - 1) * 100``; NaN where the actual value is 0 and the simulated one isn't, 0 where both are."""
    simulated, actual = np.asarray(simulated, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (simulated / actual - 1) * 100
    return np.where(actual == 0, np.where(simulated == 0, 0.0, np.nan), error)


def change_percent(value: float | None, base: float | None) -> float | None:
    """The same of one figure; None where one is missing or there is nothing to compare to."""
    return None if value is None or base is None else known(float(error_percent(value, base)))


def known(value: float | None) -> float | None:
    """None for NaN."""
    return None if value is None or np.isnan(value) else value


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
