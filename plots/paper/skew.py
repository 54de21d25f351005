"""Throughput and interactivity over Zipf alpha, in several settings."""

import pandas as pd

from plots.paper.page import Page, arms, from_zero, sheet

PANELS = {
    "output_throughput_window": "output, all (1,000 tok/s)",
    "mean_interactivity": "interactivity\n(tok/s/user)",
    "p99_tpot_ms": "p99 TPOT (ms)",
}
TIMES = {"output_throughput_window": 1e-3}


def plot(table: pd.DataFrame, page: Page) -> None:
    """A row a setting (the column `setting` names it), a panel a metric, a line an arm."""
    settings = list(table.groupby("setting", sort=False))
    with sheet(page, 2.5 * len(settings)) as fig:
        grid = fig.subplots(len(settings), len(PANELS), sharex=True, squeeze=False)
        for (setting, rows), line in zip(settings, grid, strict=True):
            for (metric, label), axes in zip(PANELS.items(), line, strict=True):
                arms(axes, rows, "alpha", metric, TIMES.get(metric, 1.0))
                axes.set_ylabel(label)
            line[0].set_title(setting)
            from_zero(line)
        for axes in grid[-1]:
            axes.set_xlabel("Zipf alpha")
