"""Batch and queue of each decode worker over time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from plots.style import MUTED, figure, in_legend, looks
from sunsim.metrics.intervals import Level
from sunsim.metrics.rows import Floats
from sunsim.visible import visible

SAMPLES = 600
MOST_NAMED = 8


def plot_worker_timeline(
    arms: Mapping[str, pd.DataFrame], path: Path, window_s: tuple[float, float], places: Mapping[str, int]
) -> None:
    """Draw a row of two panels an arm: requests decoding, and requests waiting for the decode worker.

    `arms` holds the result rows of each, `places` its largest `max_num_seqs`. Arms without decode are left out.
    """
    drawn = {name: rows for name, rows in arms.items() if rows["decode_worker"].notna().any()}
    if not drawn:
        return
    stamps = ["arrival_s", "decode_scheduled_s", "last_token_s"]
    last_s = max(float(rows[stamps].max().max()) for rows in drawn.values())
    # A long drain of one overloaded arm would squeeze what matters in all the others.
    begin_s = np.floor(min(float(rows["arrival_s"].min()) for rows in drawn.values()))
    end_s = min(last_s, window_s[1] + 0.25 * (window_s[1] - begin_s))
    end_s = end_s if end_s > begin_s else last_s
    time_s = np.linspace(begin_s, end_s, SAMPLES)
    with figure(path, 0.9 + 1.9 * len(drawn)) as fig:
        grid = fig.subplots(len(drawn), 2, sharex=True, sharey="col", squeeze=False)
        for (name, rows), (batch, queue) in zip(drawn.items(), grid, strict=True):
            _arm(batch, queue, rows, time_s)
            # A long name goes on above the picture beside it, whose title has no name.
            batch.set_title(f"{visible(name)}\ndecoding (of {places[name]} places)")
            queue.set_title("waiting for decode")
            batch.set_ylabel("requests")
            for axes in (batch, queue):
                axes.axvspan(*window_s, color="#F4F4F4", zorder=0)
        for axes in grid[-1]:
            axes.set_xlabel("time (s); shaded: measured")
        highest = max(float(line.get_ydata().max()) for axes in grid[:, 0] for line in axes.lines)
        for (name, _), (batch, _) in zip(drawn.items(), grid, strict=True):
            batch.axhline(places[name], color=MUTED, linestyle=":")
        # Few workers come near their places, and a scale up to them would flatten what there is to see.
        grid[0][0].set_ylim(0, 1.12 * highest or 1.0)
        grid[0][1].set_ylim(bottom=0, top=max(1.0, grid[0][1].get_ylim()[1]))
        grid[0][0].set_xlim(begin_s, end_s)


def _arm(batch: Axes, queue: Axes, rows: pd.DataFrame, time_s: Floats) -> None:
    names = sorted(rows["decode_worker"].dropna().unique())
    look = looks(names)
    there_s = rows["prefill_end_s"].fillna(rows["arrival_s"])
    for name in names:
        own = (rows["decode_worker"] == name).to_numpy()
        line: dict[str, Any] = {
            "color": look[name].colour,
            "linewidth": 1.0,
            "drawstyle": "steps-post",
            "label": in_legend(name.removeprefix("decode/")),
        }
        scheduled_s = rows["decode_scheduled_s"][own].to_numpy()
        batch.plot(time_s, Level.count(scheduled_s, rows["last_token_s"][own].to_numpy()).at(time_s), **line)
        queue.plot(time_s, Level.count(there_s[own].to_numpy(), scheduled_s).at(time_s), **line)
    if len(names) <= MOST_NAMED:
        queue.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2)
