"""Throughput per GPU and TPOT over the number of decode GPUs."""

import pandas as pd

from plots.paper.page import LOOKS, Page, from_zero, line, sheet
from plots.style import log_axis

PANELS = {
    "output_throughput_per_decode_gpu": "output per decode\nGPU (tok/s)",
    "output_throughput_per_gpu": "output per GPU,\nall (tok/s)",
    "mean_tpot_ms": "mean TPOT (ms)",
}
DASHES = ("-", ":")


def plot(table: pd.DataFrame, page: Page) -> None:
    """A column an output length, a row a metric, a line a way of serving and rate."""
    lengths = table["output_tokens"].unique()
    with sheet(page, 6.6) as fig:
        grid = fig.subplots(len(PANELS), len(lengths), sharex=True, sharey="row", squeeze=False)
        for length, column in zip(lengths, grid.T, strict=True):
            own = table[table["output_tokens"] == length]
            for metric, axes in zip(PANELS, column, strict=True):
                for dash, (rate, at_rate) in zip(DASHES, own.groupby("rate_rps", sort=False), strict=True):
                    for way, rows in at_rate.groupby("way", sort=False):
                        colour, marker, _ = LOOKS[str(way)]
                        line(axes, rows, "decode_gpus", metric, (colour, marker, dash), f"{way}, {rate:g} req/s")
            column[0].set_title(f"{length} output tokens")
            column[-1].set_xlabel("decode GPUs")
            column[-1].set_xticks(sorted(table["decode_gpus"].unique()))
        for axes, (metric, label) in zip(grid[:, 0], PANELS.items(), strict=True):
            axes.set_ylabel(label)
            if metric.endswith("tpot_ms"):
                log_axis(axes, "y")
                axes.set_yticks([5, 10, 20, 50, 100])
            else:
                from_zero([axes])
