"""Each decode worker's batch and queue over time."""

import pandas as pd

from plots.paper.page import Page, sheet
from plots.style import DASHES, MUTED, PALETTE


def plot(table: pd.DataFrame, page: Page) -> None:
    """A row an arm: requests decoding on the left, waiting on the right, a line a worker."""
    ways = list(table.groupby("arm", sort=False))
    with sheet(page, 2.3 * len(ways)) as fig:
        grid = fig.subplots(len(ways), 2, sharex=True, sharey="col", squeeze=False)
        for (arm, rows), (batch, queue) in zip(ways, grid, strict=True):
            for number, (_, own) in enumerate(rows.groupby("worker", sort=False)):
                look = {"color": PALETTE[number], "linestyle": DASHES[number % len(DASHES)], "linewidth": 1.2}
                batch.plot(own["time_s"], own["batch"], **look, label=f"decode GPU {number + 1}")
                queue.plot(own["time_s"], own["queue"], **look)
            batch.axhline(rows["max_num_seqs"].iloc[0], color=MUTED, linestyle=":")
            batch.set_title(f"{arm}: decoding (dotted: max_num_seqs)")
            queue.set_title(f"{arm}: waiting for decode")
            batch.set_ylabel("requests")
        for axes in grid[-1]:
            axes.set_xlabel("time (s)")
        for axes in grid[0]:
            axes.set_ylim(bottom=0)
        grid[0][0].set_xlim(0, table["time_s"].max())
