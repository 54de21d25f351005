"""What the paper leaves out: prefill under skew, the KV link, who emits the first token, and other ways to serve."""

import pandas as pd

from plots.paper.page import LOOKS, Page, arms, line, panels, sheet
from plots.paper.pareto import curves
from plots.style import PALETTE, log_axis

OWNER_DASHES = {"isolated": "--", "sun": "-"}
EMITTER_DASHES = {"decode": "-", "prefill": ":"}


def prefill(table: pd.DataFrame, page: Page) -> None:
    """A panel a metric over Zipf alpha; colours tell how much prefill there is, dashes who shares decode."""
    for axes, metric in panels(page, ("p99_ttft_ms", "output_throughput_window", "mean_tpot_ms"), "Zipf alpha"):
        for colour, (gpus, own) in zip(PALETTE, table.groupby("prefill_gpus"), strict=False):
            for way, rows in own.groupby("way", sort=False):
                look = (colour, LOOKS[str(way)].marker, OWNER_DASHES[str(way)])
                line(axes, rows, "alpha", metric, look, f"{way}, {gpus} prefill")


def transfer(table: pd.DataFrame, page: Page) -> None:
    """A panel a metric over the KV link's bandwidth, a line an arm."""
    metrics = ("mean_ttft_ms", "p99_ttft_ms", "output_throughput_window")
    for axes, metric in panels(page, metrics, "KV link (Gbit/s a worker)"):
        arms(axes, table, "bandwidth_gbit_s", metric)
        log_axis(axes, "x")
        axes.set_xticks(sorted(table["bandwidth_gbit_s"].unique()))


def first_token(table: pd.DataFrame, page: Page) -> None:
    """A panel a metric over the load; colours tell the arm, dashes who emits the first token."""
    metrics = ("mean_ttft_ms", "mean_tpot_ms", "output_throughput_per_decode_gpu")
    for axes, metric in panels(page, metrics, "load (req/s)"):
        for arm, own in table.groupby("arm", sort=False):
            for emitter, rows in own.groupby("first_token", sort=False):
                look = LOOKS[str(arm)]._replace(dash=EMITTER_DASHES[str(emitter)])
                line(axes, rows, "rate_rps", metric, look, f"{arm}, {emitter}")


def rivals(table: pd.DataFrame, page: Page) -> None:
    """Output per GPU over interactivity, from the least load to the greatest."""
    with sheet(page, 4.2) as fig:
        curves(fig.subplots(), table, "output_throughput_per_gpu")
