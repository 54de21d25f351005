"""Where in the grid the claims hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import colormaps
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patches import Rectangle

from plots.paper.page import Page, sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = colormaps["PuOr"]


def plot(table: pd.DataFrame, page: Page) -> None:
    """A row a measure (the column `measure`), a column an alpha.

    Cells in which the claim holds are framed. Purple is better for SUN; marks tell who is overloaded.
    """
    measures, alphas = table["measure"].unique(), sorted(table["alpha"].unique())
    with sheet(page, 2.15 * len(measures)) as fig:
        grid = fig.subplots(len(measures), len(alphas), sharex=True, sharey=True, squeeze=False)
        for measure, line in zip(measures, grid, strict=True):
            for alpha, axes in zip(alphas, line, strict=True):
                _cells(axes, table[(table["measure"] == measure) & (table["alpha"] == alpha)])
                axes.set_title(f"alpha {alpha:g}" if axes is not line[0] else f"{measure}\nalpha {alpha:g}", fontsize=9)
            line[0].set_ylabel("output tokens")
        for axes in grid[-1]:
            axes.set_xlabel("req/s")


def _cells(axes: Axes, rows: pd.DataFrame) -> None:
    ratios = rows.pivot_table(index="output_tokens", columns="rate_rps", values="ratio")
    holds = rows.pivot_table(index="output_tokens", columns="rate_rps", values="holds", aggfunc="any")
    marks = rows.assign(
        mark=[
            "*" * base + "\u2020" * own for base, own in zip(rows["base_overloaded"], rows["overloaded"], strict=True)
        ]
    ).pivot_table(index="output_tokens", columns="rate_rps", values="mark", aggfunc="first")
    norm = TwoSlopeNorm(1.0, 0.4, 2.2)
    better = 1 if rows["higher_is_better"].iloc[0] else -1
    for y, length in enumerate(ratios.index):
        for x, rate in enumerate(ratios.columns):
            value = ratios.loc[length, rate]
            shade = norm(value) if better > 0 else 1 - norm(value)
            axes.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, color=COLOURS(0.5 + 0.7 * (min(max(shade, 0), 1) - 0.5)))
            )
            axes.text(x, y, f"{value:.2f}{marks.loc[length, rate]}", ha="center", va="center", fontsize=8)
            if holds.loc[length, rate]:
                axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, linewidth=1.8))
    axes.set_xticks(range(len(ratios.columns)), [f"{rate:g}" for rate in ratios.columns])
    axes.set_yticks(range(len(ratios.index)), [f"{length}" for length in ratios.index])
    axes.set_xlim(-0.5, len(ratios.columns) - 0.5)
    axes.set_ylim(-0.5, len(ratios.index) - 0.5)
    axes.grid(visible=False)
