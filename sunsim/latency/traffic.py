"""How serving differs from steady batches, learned from a profile's own traffic.

A sweep of traffic is a stretch of serving in which requests of unequal lengths come and go. Three numbers are fitted to
all steps of all sweeps at once: `alone`, how fast attention ends (`sunsim.latency.attention`), and two that correct what
the model says then of batches of the sweep's requests::

    step_ms = said_ms(alone) + request_ms * min(batch, LASTING) + token_ms * context

How far they hold is judged on each sweep by numbers fitted to the others (`TrafficFit.left_out`): so far the model may
be off on traffic of a shape that it has not seen. ``python -m benchmarks.step_models`` has other forms beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sunsim.latency.measured import DecodePoint

Floats = NDArray[np.float64]
Chosen = NDArray[np.bool_]

LASTING = 128
"""Requests up to which a step's time is corrected by their number.

A sweep passes through larger batches within seconds. They are what slows a card down when they last: steps of 177 to 256
requests took 1 to 2 % longer when they were measured again at the end of a profile, those of 96 or fewer 0.1 %
(``python -m benchmarks.repeats``). So what a sweep sees of them does not go on.
"""
LEAST_SWEEPS = 2
"""One does not tell batch from context."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sweep, and what numbers fitted to the other sweeps say of it.

    Attributes:
        sweep: its name.
        steps: that it has.
        error: of all its steps' time, relative: below 0 if the model is short.
        spread: root of the mean squared relative error of its points, weighted by their steps.
    """

    sweep: str
    steps: int
    error: float
    spread: float


@dataclass(frozen=True, slots=True)
class TrafficFit:
    """Numbers fitted to traffic.

    Attributes:
        alone: one of those that were tried.
        request_ms: milliseconds a request in the step, of the first `LASTING`.
        token_ms: milliseconds a token of context.
        left_out: a sweep each, by name; empty if one of them alone would be left to fit to.
    """

    alone: float
    request_ms: float
    token_ms: float
    left_out: tuple[LeftOut, ...] = ()

    def more_ms(self, batch: int) -> float:
        """Milliseconds that a step of so many requests takes longer at no context."""
        return self.request_ms * min(batch, LASTING)

    @classmethod
    def of(cls, points: Sequence[DecodePoint], said_ms: Mapping[float, Floats]) -> TrafficFit | None:
        """Least squares of relative errors, each point weighted by its steps; None if there are too few sweeps.

        Args:
            points: of traffic.
            said_ms: what the model says of each, float64[n], by `alone`.
        """
        sweeps = np.array([point.traffic or "" for point in points])
        names = sorted(set(sweeps.tolist()))
        if len(names) < LEAST_SWEEPS:
            return None
        table = Sweeps(
            np.array([(min(point.batch, LASTING), point.context_tokens) for point in points]),
            np.array([point.step_ms_mean for point in points]),
            said_ms,
            np.array([float(point.steps) for point in points]),
        )
        left_out = [
            LeftOut(name, int(table.steps[sweeps == name].sum()), *table.errors(sweeps == name))
            for name in names
            if len(names) > LEAST_SWEEPS
        ]
        alone, (request_ms, token_ms) = table.fit(np.full(len(points), True))
        return cls(alone, float(request_ms), float(token_ms), tuple(left_out))


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Points of traffic as columns, for numbers that make up for what is missing in what is said of them.

    Attributes:
        rows: what each number is multiplied by, float64[n, numbers].
        step_ms: measured, float64[n].
        said_ms: without the numbers, float64[n], by `alone`.
        steps: that a point is the mean of, float64[n].
    """

    rows: Floats
    step_ms: Floats
    said_ms: Mapping[float, Floats]
    steps: Floats

    def fit(self, chosen: Chosen) -> tuple[float, Floats]:
        """`alone`, and the numbers, that suit these points best."""
        weights = np.sqrt(self.steps[chosen]) / self.step_ms[chosen]
        scale = self.rows.max(axis=0)  # so that no column counts as noise beside the other
        rows = self.rows[chosen] / scale * weights[:, None]
        inverse = np.linalg.pinv(rows)
        missing = {alone: (self.step_ms - said_ms)[chosen] * weights for alone, said_ms in self.said_ms.items()}
        numbers = {alone: inverse @ wanted for alone, wanted in missing.items()}
        best = min(missing, key=lambda alone: float(((missing[alone] - rows @ numbers[alone]) ** 2).sum()))
        return best, numbers[best] / scale

    def errors(self, which: Chosen) -> tuple[float, float]:
        """Of those points, with numbers fitted to the others: relative error in total, and its spread."""
        alone, numbers = self.fit(~which)
        said_ms = self.said_ms[alone][which] + self.rows[which] @ numbers
        steps, step_ms = self.steps[which], self.step_ms[which]
        spread = np.sqrt(np.average((said_ms / step_ms - 1) ** 2, weights=steps))
        return float(steps @ said_ms / (steps @ step_ms) - 1), float(spread)
