"""Which steps of a sweep the profiles were not measured for, in a sentence."""

from sunsim.report.format import count, counted, listed, percent, together
from sunsim.sweep.estimates import Estimates
from sunsim.sweep.grid import Grid
from sunsim.sweep.result import TABLE

MOST = 4
"""Kinds of steps that are told of."""


def outside_measured(grid: Grid, estimates: Estimates) -> str:
    """What share of which arms' steps is outside the measured range, at the combination with most; the worst first."""
    shares = together(
        ((of_arm.arm, stage), (share, index))
        for index, arms in estimates.items()
        for of_arm in arms
        for stage, share in of_arm.outside.items()
        if share
    )
    if not shares:
        return "Every step is inside the measured range."
    worst = {of: max(found, key=lambda each: each[0]) for of, found in shares.items()}
    alike = together(
        ((f"{percent(worst[arm, stage][0], 1)} of {stage} steps", worst[arm, stage][1], len(shares[arm, stage])), arm)
        for arm, stage in sorted(shares, key=lambda of: -worst[of][0])
    )
    told = [
        f"{share} in {listed(arms)}{_where(grid, index, some, len(estimates))}"
        for (share, index, some), arms in alike.items()
    ]
    rest = [f"{counted(len(told) - MOST, 'smaller share')}, in {TABLE}"] if len(told) > MOST else []
    return f"Outside the measured range, the worst first: {'; '.join(told[:MOST] + rest)}."


def _where(grid: Grid, index: int, some: int, combinations: int) -> str:
    if combinations == 1:
        return ""
    of_all = "all" if some == combinations else f"{count(some)} of"
    return f" at {grid.heading(index)} (some in {of_all} {count(combinations)} combinations)"
