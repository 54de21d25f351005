"""How much faster a quantized shared decoder is, by load and output length."""

import pandas as pd

from plots.paper.page import Page, line, sheet
from plots.style import MARKERS, MUTED, PALETTE, log_axis

LEVELS = {1 - 0.45: ("-45 %", False), 1 / 1.45: ("1.45x as fast", True)}
"""What the paper's 45 % may mean, and whether its name goes above the line."""


def plot(table: pd.DataFrame, page: Page) -> None:
    """A panel a number of decode GPUs: TPOT of QSUN over that of SUN, a line an output length."""
    pools = list(table.groupby("decode_gpus", sort=False))
    with sheet(page, 3.1) as fig:
        panels = fig.subplots(1, len(pools), sharey=True)
        for (gpus, rows), axes in zip(pools, panels, strict=True):
            for (length, own), colour, marker in zip(
                rows.groupby("output_tokens", sort=False), PALETTE, MARKERS, strict=False
            ):
                line(axes, own, "rate_rps", "tpot_ratio", (colour, marker, "-"), f"{length} output tokens")
            for level in LEVELS:
                axes.axhline(level, color=MUTED, linestyle=":", linewidth=1.2)
            axes.axhline(1.0, color=MUTED, linewidth=1.0)
            axes.set_title(f"{gpus} shared decode GPUs")
            axes.set_xlabel("load (req/s)")
            log_axis(axes, "x")
            axes.set_xticks(sorted(rows["rate_rps"].unique()))
            axes.set_ylim(0, 1.15)
        panels[0].set_ylabel("mean TPOT, QSUN / SUN")
        for level, (name, above) in LEVELS.items():
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            panels[0].annotate(name, (0.01, level), (0, 2 if above else -9), fontsize=8.5, color="#666666", **place)
