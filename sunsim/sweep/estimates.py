"""What the seeds of a combination say together: means, and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sunsim.points.outcome import Row
from sunsim.report.compare import OUTPUT, queueing, same_work
from sunsim.sweep.grid import Grid

Rows = Mapping[tuple[int, int], Sequence[Row]]
"""By index of the combination and seed."""

CONFIDENCE = 0.95

SKEWED = ("_ttft_ms", "slo_attainment")
"""How the tags end of figures that are far from normal: waiting has a long tail, and a share ends at 1."""
CONFIDENCE_SKEWED = 0.99
"""Student's interval of a few skewed values holds the mean less often than it says: with 3 to 5 seeds in 88 to 93 of 100
cases for 95 %. That for 99 % does in about 95."""
UNSEEN = 3.7
"""Where none of many requests has missed, one in as many times up to 3.7 still may: -ln(0.025)."""

HEADLINES = (
    "output_throughput_per_decode_gpu",
    "output_throughput_per_gpu",
    "mean_tpot_ms",
    "p99_tpot_ms",
    "p99_ttft_ms",
    "slo_attainment",
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds and half the width of an interval that holds it in 95 of 100 cases, None with one seed."""

    mean: float
    half_width: float | None
    seeds: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves 0 out, else 0."""
        if self.half_width is None or abs(self.mean) <= self.half_width:
            return 0
        return 1 if self.mean > 0 else -1


@dataclass(frozen=True, slots=True)
class ArmEstimates:
    """One arm at one combination.

    Attributes:
        overloaded, window_too_short: with at least one of the seeds.
        figures: by metric; what no seed has is None.
        differences: to the first arm, each seed's to the same seed's, whose requests are the same; none for the first
            arm itself, and None where either is overloaded and the metric depends on how long the run was, or where
            they do not do the same work.
    """

    arm: str
    overloaded: bool
    window_too_short: bool
    figures: Mapping[str, Estimate | None]
    differences: Mapping[str, Estimate | None]


def estimate(values: Sequence[float], tag: str = "", requests: int | None = None) -> Estimate | None:
    """The mean with Student's interval; None without values.

    Args:
        values: a seed's figure each, or its difference between two arms.
        tag: of the figure; the interval of a skewed one is wider.
        requests: of all seeds together, where the figure is a share of them: equal shares do not make it certain.
    """
    if not values:
        return None
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Estimate(mean, None, n)
    confidence = CONFIDENCE_SKEWED if tag.endswith(SKEWED) else CONFIDENCE
    quantile = float(stdtrit(n - 1, (1 + confidence) / 2))
    half_width = quantile * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, half_width + (UNSEEN / requests if requests else 0.0), n)


def estimates(grid: Grid, rows: Rows) -> dict[int, list[ArmEstimates]]:
    """For each combination that has points, its arms in the order of the scenario."""
    found = {}
    for index in range(len(grid.combinations)):
        by_seed = [rows[index, seed] for seed in grid.seeds if (index, seed) in rows]
        if by_seed:
            arms = [[of_seed[n] for of_seed in by_seed] for n in range(len(by_seed[0]))]
            scenario = grid.combinations[index].scenario
            pools = {arm.name: {str(stage) for stage in arm.pools()} for arm in scenario.arms} if scenario else {}
            found[index] = [_arm(arm, arms[0], pools) for arm in arms]
    return found


def _arm(arm: Sequence[Row], first: Sequence[Row], pools: Mapping[str, set[str]]) -> ArmEstimates:
    """`pools`: of each arm, its kinds of workers."""
    own, base = (pools.get(rows[0]["arm"], set()) for rows in (arm, first))
    requests = {"slo_attainment": sum(row["window_requests"] for row in arm)}
    differences = {
        tag: estimate(_differences(tag, arm, first), tag, requests.get(tag))
        if not tag.startswith(OUTPUT) or same_work(tag, own, base)
        else None
        for tag in HEADLINES
        if arm is not first
    }
    return ArmEstimates(
        arm=arm[0]["arm"],
        overloaded=any(row["overloaded"] for row in arm),
        window_too_short=any(row["window_too_short"] for row in arm),
        figures={
            tag: estimate([row[tag] for row in arm if row[tag] is not None], tag, requests.get(tag))
            for tag in HEADLINES
        },
        differences=differences,
    )


def _differences(tag: str, arm: Sequence[Row], first: Sequence[Row]) -> list[float]:
    for row in (*arm, *first):
        if row["overloaded"] and tag.endswith(queueing(row)):
            return []
    pairs = zip(arm, first, strict=True)
    return [row[tag] - base[tag] for row, base in pairs if row[tag] is not None and base[tag] is not None]


def plain(of_arm: ArmEstimates) -> dict[str, Any]:
    """For JSON."""

    def entry(made: Estimate | None) -> dict[str, Any] | None:
        return None if made is None else {"mean": made.mean, "half_width_95": made.half_width, "seeds": made.seeds}

    return {
        "overloaded": of_arm.overloaded,
        "window_too_short": of_arm.window_too_short,
        "figures": {tag: entry(made) for tag, made in of_arm.figures.items()},
        "difference_to_first_arm": {tag: entry(made) for tag, made in of_arm.differences.items()},
    }
