"""The grid of settings as a map: where the claims on throughput and latency hold."""

from functools import partial

import pandas as pd

from plots.paper.claims import plot
from sunsim.figures.captions import of_plans
from sunsim.figures.claims import FACTORS, HELD, ISOLATED, MORE_OUTPUT, MORE_PACE, TPOT_WITHIN, compared
from sunsim.figures.figure import Figure
from sunsim.figures.sweeps import Frames, SweepFile


def table(frames: Frames) -> pd.DataFrame:
    """A row a measure and setting: the ratio of SUN to isolated serving, and whether it is what the paper claims."""
    half, equal = (compared(frames["grid"], f"sun-{gpus}", "isolated") for gpus in (ISOLATED // 2, ISOLATED))
    fit = (half["output_throughput_window"] >= HELD) & ~half["overloaded"]
    parts = [
        _part(half, "mean TPOT, half the decode GPUs", "mean_tpot_ms", fit & (half["mean_tpot_ms"] <= TPOT_WITHIN)),
        _part(
            equal,
            "output, as many decode GPUs",
            "output_throughput_window",
            equal["output_throughput_window"] >= MORE_OUTPUT,
        ),
        _part(
            equal,
            "interactivity, as many decode GPUs",
            "mean_interactivity",
            equal["mean_interactivity"] >= MORE_PACE,
        ),
    ]
    return pd.concat(parts, ignore_index=True)


def _part(settings: pd.DataFrame, measure: str, metric: str, holds: pd.Series) -> pd.DataFrame:
    return settings[list(FACTORS)].assign(
        measure=measure,
        ratio=settings[metric],
        holds=holds,
        higher_is_better=not metric.endswith("_ms"),
        overloaded=settings["overloaded"],
        base_overloaded=settings["base_overloaded"],
    )


def seen(made: pd.DataFrame) -> str:
    """In how many settings each claim holds."""
    told = [f"{measure}: {rows['holds'].sum()} of {len(rows)}" for measure, rows in made.groupby("measure", sort=False)]
    return (
        "SUN over isolated serving with four decode GPUs. Framed: as the paper claims (TPOT within 5 % at the same "
        "output, not overloaded; output +29 %; interactivity +44 %). Purple: better for SUN, orange: worse. "
        f"*: isolated is overloaded, \u2020: SUN is. Framed settings: {'; '.join(told)}."
    )


FIGURE = Figure(
    name="claims",
    title="Where do the paper's claims hold?",
    sweeps=(SweepFile("grid"),),
    table=table,
    plot=plot,
    seen=seen,
    caption=partial(of_plans, marks="cells: ratios of each seed's means, averaged"),
)
