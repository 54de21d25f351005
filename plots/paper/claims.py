"""Where in the grid the claims hold."""

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patches import Rectangle

from plots.paper.page import Page, sheet

COLOURS = colormaps["PuOr"]
NORM = TwoSlopeNorm(1.0, 0.4, 2.2)
DARK = 1.5
"""Sum of red, green and blue below which text is white."""


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
    lengths, rates = sorted(rows["output_tokens"].unique()), sorted(rows["rate_rps"].unique())
    for row in rows.to_dict("records"):
        x, y = rates.index(row["rate_rps"]), lengths.index(row["output_tokens"])
        better = NORM(row["ratio"]) if row["higher_is_better"] else 1 - NORM(row["ratio"])
        colour = COLOURS(0.15 + 0.7 * min(max(float(better), 0.0), 1.0))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=colour))
        text = f"{row['ratio']:.2f}" + "*" * row["base_overloaded"] + "\u2020" * row["overloaded"]
        ink = "white" if sum(colour[:3]) < DARK else "black"
        axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=ink)
        if row["holds"]:
            axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, linewidth=1.8, zorder=3))
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(lengths)), [f"{length}" for length in lengths])
    axes.set_xlim(-0.5, len(rates) - 0.5)
    axes.set_ylim(-0.5, len(lengths) - 0.5)
    axes.grid(visible=False)
