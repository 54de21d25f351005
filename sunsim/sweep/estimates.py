"""What the seeds of a combination say together: means, and how far they can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sunsim.points.estimate import Estimate, estimate
from sunsim.points.outcome import Row
from sunsim.report.compare import OUTPUT, queueing, same_work
from sunsim.sweep.grid import Grid

Rows = Mapping[tuple[int, int], Sequence[Row]]
"""By index of the combination and seed."""

HEADLINES = (
    "output_throughput_per_decode_gpu",
    "output_throughput_per_gpu",
    "mean_tpot_ms",
    "p99_tpot_ms",
    "p99_ttft_ms",
    "slo_attainment",
    "cached_share",
    "mean_session_duration_s",
    "shed",
    "mean_acceptance_length",
    "mean_itl_ms",
)
"""The last five are there only where requests are rounds of sessions, admission refuses some, or tokens are drafted."""
ELASTIC = ("gpu_hours", "mean_gpus", "worst_window_slo_attainment")
"""Further ones, where a pool is elastic."""


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
    tags = [tag for tag in HEADLINES if tag in arm[0]] + list(ELASTIC if "gpu_hours" in arm[0] else ())
    differences = {
        tag: estimate(_differences(tag, arm, first), tag, requests.get(tag))
        if not tag.startswith(OUTPUT) or same_work(tag, own, base)
        else None
        for tag in tags
        if arm is not first
    }
    return ArmEstimates(
        arm=arm[0]["arm"],
        overloaded=any(row["overloaded"] for row in arm),
        window_too_short=any(row["window_too_short"] for row in arm),
        figures={
            tag: estimate([row[tag] for row in arm if row[tag] is not None], tag, requests.get(tag)) for tag in tags
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
