"""What changes with who emits the first token."""

import pandas as pd

from plots.paper.page import LOOKS, Page, line, sheet
from plots.style import log_axis

PANELS = {
    "mean_ttft_ms": "mean TTFT (ms)",
    "mean_tpot_ms": "mean TPOT (ms)",
    "output_throughput_per_decode_gpu": "output per decode\nGPU (tok/s)",
}
DASHES = {"decode": "-", "prefill": ":"}


def plot(table: pd.DataFrame, page: Page) -> None:
    """A panel a metric over the load; colours tell the arm, dashes who emits the first token."""
    with sheet(page, 2.9) as fig:
        for axes, (metric, label) in zip(fig.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for arm, own in table.groupby("arm", sort=False):
                for emitter, rows in own.groupby("first_token", sort=False):
                    colour, marker, _ = LOOKS[str(arm)]
                    line(axes, rows, "rate_rps", metric, (colour, marker, DASHES[str(emitter)]), f"{arm}, {emitter}")
            axes.set_ylabel(label)
            axes.set_xlabel("load (req/s)")
            if metric.endswith("ttft_ms"):
                log_axis(axes, "y")
            else:
                axes.set_ylim(bottom=0)
