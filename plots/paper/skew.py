"""Throughput and interactivity over Zipf alpha, in several settings."""

import pandas as pd

from plots.paper.page import Page, arms, sheet, y_axis

METRICS = ("output_throughput_window", "mean_interactivity", "p99_tpot_ms")


def plot(table: pd.DataFrame, page: Page) -> None:
    """A row a setting (the column `setting` names it), a panel a metric, a line an arm."""
    settings = list(table.groupby("setting", sort=False))
    with sheet(page, 2.5 * len(settings)) as fig:
        grid = fig.subplots(len(settings), len(METRICS), sharex=True, squeeze=False)
        for (setting, rows), line in zip(settings, grid, strict=True):
            for metric, axes in zip(METRICS, line, strict=True):
                arms(axes, rows, "alpha", metric)
                y_axis(axes, metric)
            line[0].set_title(setting)
        for axes in grid[-1]:
            axes.set_xlabel("Zipf alpha")
