"""What a GPU carries over what a user sees."""

import pandas as pd
from matplotlib.axes import Axes

from plots.paper.page import HALF_WIDTH, LABELS, LOOKS, Page, sheet

METRICS = ("output_throughput_per_decode_gpu", "output_throughput_per_gpu")


def plot(table: pd.DataFrame, page: Page) -> None:
    """A panel a denominator; each arm's points from the least load to the greatest."""
    with sheet(page, 3.9) as fig:
        for axes, metric in zip(fig.subplots(1, len(METRICS)), METRICS, strict=True):
            curves(axes, table, metric)


def curves(axes: Axes, table: pd.DataFrame, metric: str) -> None:
    """Each arm's `metric` over its interactivity, with the 95 % intervals of both; overloaded settings hollow."""
    for arm, rows in table.groupby("arm", sort=False):
        colour, marker, dash = LOOKS[str(arm)]
        x, y = rows["mean_interactivity"], rows[metric]
        axes.errorbar(
            x,
            y,
            rows[metric + HALF_WIDTH].fillna(0.0),
            rows["mean_interactivity" + HALF_WIDTH].fillna(0.0),
            color=colour,
            linestyle=dash,
            marker=marker,
            markersize=5,
            elinewidth=0.8,
        )
        axes.plot([], [], dash, color=colour, marker=marker, markersize=5, label=str(arm))
        faint = rows["overloaded"].astype(bool)
        axes.plot(x[faint], y[faint], marker, color=colour, markerfacecolor="white", markersize=5, zorder=3)
    axes.set_xlabel("interactivity (tok/s/user)")
    axes.set_ylabel(LABELS[metric].replace("\n", " "))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,g}")
