"""Throughput against interactivity, for all arms."""

import pandas as pd

from plots.paper.pareto import plot
from sunsim.figures.figure import Figure
from sunsim.figures.sweeps import Frames, SweepFile
from sunsim.figures.tables import OUTPUT, means

METRICS = (*OUTPUT, "mean_interactivity", "mean_tpot_ms", "p99_ttft_ms")


def table(frames: Frames) -> pd.DataFrame:
    """A row a rate and arm."""
    return means(frames["pareto"], ["rate_rps", "arm", "decode_gpus", "gpus"], METRICS)


def most_at(made: pd.DataFrame, interactivity: float, metric: str) -> dict[str, float]:
    """Each arm's most of `metric` among its settings that are not overloaded and at least so interactive."""
    fit = made[(made["mean_interactivity"] >= interactivity) & ~made["overloaded"]]
    return {str(arm): float(rows.max()) for arm, rows in fit.groupby("arm", sort=False)[metric]}


def seen(made: pd.DataFrame) -> str:
    """What the arms carry at one interactivity."""
    said = []
    for metric, name in (
        ("output_throughput_per_gpu", "GPU, prefill's included,"),
        ("output_throughput_per_decode_gpu", "decode GPU"),
    ):
        most = most_at(made, 80.0, metric)
        told = ", ".join(f"{arm} {value:,.0f}" for arm, value in most.items())
        said.append(f"Most output per {name} simulated at 80 tok/s/user or more, not overloaded (tok/s): {told}.")
    return " ".join(said)


FIGURE = Figure(
    name="pareto",
    title="What a GPU carries against what a user sees",
    sweeps=(SweepFile("pareto"),),
    table=table,
    plot=plot,
    seen=seen,
)
