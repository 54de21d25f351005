"""Where a decode step's time goes: weights, KV, and what is left."""

import pandas as pd

from plots.paper.page import Page, sheet
from plots.style import PALETTE

PARTS = {
    "weights_ms": ("weights", PALETTE[0]),
    "kv_ms": ("KV", PALETTE[1]),
    "rest_ms": ("rest: host, kernels beyond reading", PALETTE[5]),
}


def plot(table: pd.DataFrame, page: Page) -> None:
    """A row a variant, a panel a context length: bars of parts, and the measured step time on top."""
    variants, lengths = table["variant"].unique(), sorted(table["context_each"].unique())
    with sheet(page, 2.3 * len(variants)) as fig:
        grid = fig.subplots(len(variants), len(lengths), sharey=True, sharex="col", squeeze=False)
        for variant, line in zip(variants, grid, strict=True):
            for length, axes in zip(lengths, line, strict=True):
                rows = table[(table["variant"] == variant) & (table["context_each"] == length)]
                places, bottom = range(len(rows)), 0.0 * rows["step_ms"]
                for part, (name, colour) in PARTS.items():
                    # A step can be a little faster than the copy bandwidth allows for: then nothing is left.
                    height = rows[part].clip(lower=0.0)
                    axes.bar(places, height, 0.75, bottom, color=colour, label=name)
                    bottom += height
                axes.errorbar(
                    places,
                    rows["step_ms"],
                    [rows["step_ms"] - rows["step_ms_p10"], rows["step_ms_p90"] - rows["step_ms"]],
                    fmt="o", color="black", markersize=3, elinewidth=1, label="measured, median and 10-90 %",
                )  # fmt: skip
                axes.set_xticks(list(places), [str(batch) for batch in rows["batch"]])
                axes.set_title(f"{variant}, about {length:,} tokens each", fontsize=10)
                axes.grid(visible=False, axis="x")
            line[0].set_ylabel("decode step (ms)")
        for axes in grid[-1]:
            axes.set_xlabel("requests in the batch")
