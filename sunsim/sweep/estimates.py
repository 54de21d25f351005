"""What the seeds of a combination say together: means, and how far they can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
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
        without_drafts: of an arm that drafts, the arm that is the same but for that; None where there is none.
        speed_up: mean TPOT of that arm over its own, seed by seed.
        outside: share of each stage's steps outside the measured range, in the mean over the seeds; stages that it has.
    """

    arm: str
    overloaded: bool
    window_too_short: bool
    figures: Mapping[str, Estimate | None]
    differences: Mapping[str, Estimate | None]
    without_drafts: str | None = None
    speed_up: Estimate | None = None
    outside: Mapping[str, float] = field(default_factory=dict)


Estimates = Mapping[int, Sequence[ArmEstimates]]
"""Of the arms of each combination, by its index."""


def estimates(grid: Grid, rows: Rows) -> dict[int, list[ArmEstimates]]:
    """For each combination that has points, its arms in the order of the scenario."""
    found = {}
    for index in range(len(grid.combinations)):
        by_seed = [rows[index, seed] for seed in grid.seeds if (index, seed) in rows]
        if by_seed:
            arms = [[of_seed[n] for of_seed in by_seed] for n in range(len(by_seed[0]))]
            scenario = grid.combinations[index].scenario
            pools = {arm.name: {str(stage) for stage in arm.pools()} for arm in scenario.arms} if scenario else {}
            by_name = {arm[0]["arm"]: arm for arm in arms}
            found[index] = [_arm(arm, by_name, pools) for arm in arms]
    return found


def _arm(arm: Sequence[Row], by_name: Mapping[str, Sequence[Row]], pools: Mapping[str, set[str]]) -> ArmEstimates:
    """`by_name`: all arms, the first one first; `pools`: of each arm, its kinds of workers."""
    first = next(iter(by_name.values()))
    without_drafts = arm[0].get("without_drafts")
    workers, of_first = (pools.get(rows[0]["arm"], set()) for rows in (arm, first))
    requests = {"slo_attainment": sum(row["window_requests"] for row in arm)}
    tags = [tag for tag in HEADLINES if tag in arm[0]] + list(ELASTIC if "gpu_hours" in arm[0] else ())
    differences = {
        tag: estimate([own - base for own, base in _pairs(tag, arm, first)], tag, requests.get(tag))
        if not tag.startswith(OUTPUT) or same_work(tag, workers, of_first)
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
        without_drafts=without_drafts,
        speed_up=estimate([base / own for own, base in _pairs("mean_tpot_ms", arm, by_name[without_drafts])])
        if without_drafts
        else None,
        outside=_outside(arm),
    )


def _outside(arm: Sequence[Row]) -> dict[str, float]:
    shares = {stage: [row[f"outside_measured_share_{stage}"] for row in arm] for stage in ("prefill", "decode")}
    known = {stage: [share for share in of if share is not None] for stage, of in shares.items()}
    return {stage: fmean(of) for stage, of in known.items() if of}


def _pairs(tag: str, arm: Sequence[Row], other: Sequence[Row]) -> list[tuple[float, float]]:
    """A figure of two arms, seed by seed; none where one is overloaded and it depends on how long the run was."""
    for row in (*arm, *other):
        if row["overloaded"] and tag.endswith(queueing(row)):
            return []
    pairs = [(row[tag], base[tag]) for row, base in zip(arm, other, strict=True)]
    return [(own, base) for own, base in pairs if own is not None and base is not None]


def plain(of_arm: ArmEstimates) -> dict[str, Any]:
    """For JSON."""

    def entry(made: Estimate | None) -> dict[str, Any] | None:
        return None if made is None else {"mean": made.mean, "half_width_95": made.half_width, "seeds": made.seeds}

    drafted = {"without_drafts": of_arm.without_drafts, "speed_up_by_drafts": entry(of_arm.speed_up)}
    return {
        "overloaded": of_arm.overloaded,
        "window_too_short": of_arm.window_too_short,
        "figures": {tag: entry(made) for tag, made in of_arm.figures.items()},
        "difference_to_first_arm": {tag: entry(made) for tag, made in of_arm.differences.items()},
        "outside_measured_share": dict(of_arm.outside),
    } | (drafted if of_arm.without_drafts else {})
