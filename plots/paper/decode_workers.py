"""Throughput per GPU and TPOT over the number of decode GPUs."""

import pandas as pd

from plots.paper.page import LABELS, LOOKS, Page, line, sheet
from plots.style import log_axis

METRICS = ("output_throughput_per_decode_gpu", "output_throughput_per_gpu", "mean_tpot_ms")
DASHES = ("-", ":")


def plot(table: pd.DataFrame, page: Page) -> None:
    """A column an output length, a row a metric, a line a way of serving and rate."""
    lengths = table["output_tokens"].unique()
    with sheet(page, 6.6) as fig:
        grid = fig.subplots(len(METRICS), len(lengths), sharex=True, sharey="row", squeeze=False)
        for length, column in zip(lengths, grid.T, strict=True):
            own = table[table["output_tokens"] == length]
            for metric, axes in zip(METRICS, column, strict=True):
                for dash, (rate, at_rate) in zip(DASHES, own.groupby("rate_rps", sort=False), strict=True):
                    for way, rows in at_rate.groupby("way", sort=False):
                        look = LOOKS[str(way)]._replace(dash=dash)
                        line(axes, rows, "decode_gpus", metric, look, f"{way}, {rate:g} req/s")
            column[0].set_title(f"{length} output tokens")
            column[-1].set_xlabel("decode GPUs")
            column[-1].set_xticks(sorted(table["decode_gpus"].unique()))
        for axes, metric in zip(grid[:, 0], METRICS, strict=True):
            axes.set_ylabel(LABELS[metric])
            if metric.endswith("tpot_ms"):
                log_axis(axes, "y")
                axes.set_yticks([5, 10, 20, 50, 100])
            else:
                axes.set_ylim(bottom=0)
