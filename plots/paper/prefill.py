"""Prefill GPUs as the bottleneck under skew."""

import pandas as pd

from plots.paper.page import LOOKS, Page, line, sheet
from plots.style import PALETTE, log_axis

PANELS = {
    "p99_ttft_ms": "p99 TTFT (ms)",
    "output_throughput_window": "output, all (1,000 tok/s)",
    "mean_tpot_ms": "mean TPOT (ms)",
}
TIMES = {"output_throughput_window": 1e-3}
DASHES = {"isolated": "--", "sun": "-"}


def plot(table: pd.DataFrame, page: Page) -> None:
    """A panel a metric over Zipf alpha; colours tell how much prefill there is, dashes who shares decode."""
    with sheet(page, 2.9) as fig:
        for axes, (metric, label) in zip(fig.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for colour, (gpus, own) in zip(PALETTE, table.groupby("prefill_gpus"), strict=False):
                for way, rows in own.groupby("way", sort=False):
                    look = (colour, LOOKS[str(way)][1], DASHES[str(way)])
                    line(axes, rows, "alpha", metric, look, f"{way}, {gpus} prefill", TIMES.get(metric, 1.0))
            axes.set_ylabel(label)
            axes.set_xlabel("Zipf alpha")
            if metric.endswith("ttft_ms"):
                log_axis(axes, "y")
            else:
                axes.set_ylim(bottom=0)
