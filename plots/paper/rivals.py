"""The same GPUs used in other ways: colocated serving, and adapters on one base."""

import pandas as pd

from plots.paper.page import Page, arms, sheet
from plots.paper.pareto import curves
from plots.style import log_axis


def plot(table: pd.DataFrame, page: Page) -> None:
    """Output per GPU over interactivity, and both latencies' tails over the load."""
    with sheet(page, 3.2) as fig:
        pareto, ttft, tpot = fig.subplots(1, 3)
        curves(pareto, table, "output_throughput_per_gpu")
        pareto.set_ylabel("output per GPU, all (tok/s)")
        for axes, metric, label in ((ttft, "p99_ttft_ms", "p99 TTFT (ms)"), (tpot, "p99_tpot_ms", "p99 TPOT (ms)")):
            arms(axes, table, "rate_rps", metric)
            axes.set_ylabel(label)
            axes.set_xlabel("load (req/s)")
        log_axis(ttft, "y")
        tpot.set_ylim(bottom=0)
