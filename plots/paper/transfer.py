"""What the KV link's bandwidth does."""

import pandas as pd

from plots.paper.page import Page, arms, sheet
from plots.style import log_axis

PANELS = {
    "mean_ttft_ms": "mean TTFT (ms)",
    "p99_ttft_ms": "p99 TTFT (ms)",
    "output_throughput_window": "output, all (1,000 tok/s)",
}
TIMES = {"output_throughput_window": 1e-3}


def plot(table: pd.DataFrame, page: Page) -> None:
    """A panel a metric over the bandwidth, a line an arm."""
    with sheet(page, 2.9) as fig:
        for axes, (metric, label) in zip(fig.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            arms(axes, table, "bandwidth_gbit_s", metric, TIMES.get(metric, 1.0))
            axes.set_ylabel(label)
            axes.set_xlabel("KV link (Gbit/s a worker)")
            log_axis(axes, "x")
            axes.set_xticks(sorted(table["bandwidth_gbit_s"].unique()))
            if metric.endswith("ttft_ms"):
                log_axis(axes, "y")
            else:
                axes.set_ylim(bottom=0)
