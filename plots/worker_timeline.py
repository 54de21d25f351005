"""Batch and queue of decode workers over time: each of a few, and of many the pools that they are in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plots.style import MUTED, NO_ARM, Look, figure, in_legend, looks, shades, time_unit
from sunsim.metrics.intervals import Level
from sunsim.metrics.rows import Floats
from sunsim.report.format import counted
from sunsim.visible import visible

SAMPLES = 600
FROM = 8
"""Decode workers of an arm from which on they are drawn by pool."""
MOST_POOLS = 5
"""That are drawn apart, the fullest; the others are drawn as one."""


class Group(NamedTuple):
    """Workers that are drawn together: a value of each at every sample, [workers, samples]."""

    label: str
    batch: Floats
    queue: Floats


def plot_worker_timeline(
    arms: Mapping[str, pd.DataFrame], path: Path, window_s: tuple[float, float], places: Mapping[str, int]
) -> None:
    """Draw a row of two panels an arm: requests decoding, and requests waiting for the decode worker.

    A line is a worker; of eight workers or more it is the median of a pool's, in the band from the least to the most.

    `arms` holds the result rows of each, `places` its largest `max_num_seqs`. Arms without decode are left out.
    """
    look = looks(arms)
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
    unit, unit_s = time_unit(end_s - begin_s)
    groups = {name: _groups(rows, time_s) for name, rows in drawn.items()}
    with figure(path, 1.1 + 1.9 * len(drawn)) as fig:
        grid = fig.subplots(len(drawn), 2, sharex=True, sharey="col", squeeze=False)
        for (name, own), (batch, queue) in zip(groups.items(), grid, strict=True):
            _arm(batch, queue, own, time_s / unit_s, look[name])
            # A long name goes on above the picture beside it, whose title has no name.
            batch.set_title(f"{visible(name)}\ndecoding (of {places[name]} places)")
            queue.set_title("waiting for decode")
            batch.set_ylabel("requests")
            for axes in (batch, queue):
                axes.axvspan(window_s[0] / unit_s, window_s[1] / unit_s, color="#F4F4F4", zorder=0)
        for axes in grid[-1]:
            axes.set_xlabel(f"time ({unit}); shaded: measured")
        highest = max(float(group.batch.max()) for own in groups.values() for group in own)
        for (name, _), (batch, _) in zip(drawn.items(), grid, strict=True):
            batch.axhline(places[name], color=MUTED, linestyle=":")
        # Few workers come near their places, and a scale up to them would flatten what there is to see.
        grid[0][0].set_ylim(0, 1.12 * highest or 1.0)
        grid[0][1].set_ylim(bottom=0, top=max(1.0, grid[0][1].get_ylim()[1]))
        grid[0][0].set_xlim(begin_s / unit_s, end_s / unit_s)
        if any(len(group.batch) > 1 for own in groups.values() for group in own):
            signs = [
                Line2D([], [], color=NO_ARM, linewidth=1.0, label="one worker, or the median of several"),
                Patch(color=NO_ARM, alpha=0.25, linewidth=0, label="from the least of them to the most"),
            ]
            fig.legend(handles=signs, loc="outside lower center", ncols=2)


def _groups(rows: pd.DataFrame, time_s: Floats) -> list[Group]:
    """Each worker, or each pool, the fullest first and the others together."""
    there_s = rows["prefill_end_s"].fillna(rows["arrival_s"]).to_numpy()
    scheduled_s, last_s = rows["decode_scheduled_s"].to_numpy(), rows["last_token_s"].to_numpy()
    workers: dict[str, tuple[Floats, Floats]] = {}
    for name in sorted(rows["decode_worker"].dropna().unique()):
        own = (rows["decode_worker"] == name).to_numpy()
        batch = Level.count(scheduled_s[own], last_s[own]).at(time_s)
        workers[name.removeprefix("decode/")] = (batch, Level.count(there_s[own], scheduled_s[own]).at(time_s))
    if len(workers) < FROM:
        return [_group(name, [name], workers) for name in workers]
    pools: dict[str, list[str]] = {}
    for name in workers:
        pools.setdefault(name.rpartition("/")[0], []).append(name)
    made = [
        _group(f"{pool}, {counted(len(names), 'worker')}", names, workers)
        for pool, names in sorted(pools.items(), key=lambda pool: -max(workers[name][0].mean() for name in pool[1]))
    ]
    if len(made) <= MOST_POOLS + 1:
        return made
    rest = made[MOST_POOLS:]
    batch, queue = (np.concatenate([getattr(group, what) for group in rest]) for what in ("batch", "queue"))
    return [*made[:MOST_POOLS], Group(f"{len(rest)} other pools, {counted(len(batch), 'worker')}", batch, queue)]


def _group(label: str, names: Sequence[str], workers: Mapping[str, tuple[Floats, Floats]]) -> Group:
    batch, queue = (np.stack([workers[name][i] for name in names]) for i in range(2))
    return Group(label, batch, queue)


def _arm(batch: Axes, queue: Axes, groups: Sequence[Group], time: Floats, look: Look) -> None:
    """Lines in shades of the arm's colour, the first on top."""
    for i, (group, shade) in enumerate(zip(groups, shades(look.colour, len(groups)), strict=True)):
        for axes, values in ((batch, group.batch), (queue, group.queue)):
            order = 3 - i / len(groups)
            axes.plot(
                time,
                np.median(values, axis=0),
                color=shade,
                linewidth=1.0,
                drawstyle="steps-post",
                label=in_legend(group.label),
                zorder=order,
            )
            if len(values) > 1:
                band = (values.min(axis=0), values.max(axis=0))
                axes.fill_between(time, *band, step="post", color=shade, alpha=0.25, linewidth=0, zorder=order)
    queue.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2)
