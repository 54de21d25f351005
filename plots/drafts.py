"""What drafts give: speed-up by load and arm, by batch and number of drafts, and by how well a shared drafter guesses."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from plots.style import DASHES, MARKERS, MISSES, NO_ARM, PALETTE, figure, looks, mixed, shades

CONTEXTS = PALETTE[4]
"""Its shades are contexts, which are no arms."""
PALEST = 0.75
"""Of a colour in lines of one arm: less is hard to see on white."""
PLACE: dict[str, Any] = {"loc": "upper right", "handlelength": 2.6, "labelspacing": 0.25, "fontsize": 8}


def plot_drafts(by_load: pd.DataFrame, by_batch: pd.DataFrame, worse: pd.DataFrame, path: Path) -> None:
    """Draw three panels of speed-ups: the time per token without drafts over that with them; below 1 drafts are a loss.

    Args:
        by_load: columns `rate` (requests/s), `arm`, `speedup`, `overloaded`.
        by_batch: columns `batch`, `context` (tokens of each request), `drafts`, `speedup`; the least and the largest context
            are drawn.
        worse: columns `arm`, `rate`, `share` (of the acceptance rates of the other panels), `speedup`; the first arm is drawn.
    """
    look = looks(by_load["arm"].unique())
    with figure(path, 3.7) as fig:
        load, batch, share = fig.subplots(1, 3, sharey=True)
        for arm, rows in by_load.groupby("arm", sort=False):
            colour, marker, dash = look[str(arm)]
            drawn: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4}
            load.plot(rows["rate"], rows["speedup"], linestyle=dash, label=str(arm), **drawn)
            full = rows[rows["overloaded"]]
            load.plot(full["rate"], full["speedup"], linestyle="", markerfacecolor="white", **drawn)
        load.plot([], [], "o", color=NO_ARM, ms=4, markerfacecolor="white", label="overloaded")
        load.set_title("By load")
        load.set_xlabel("requests/s")
        load.set_ylabel("speed-up of TPOT by drafts")
        _by_batch(batch, by_batch)
        _by_share(share, worse, look[worse["arm"].iloc[0]].colour)
        top = max(frame["speedup"].max() for frame in (by_load, by_batch, worse))
        for axes in (load, batch, share):
            axes.axhspan(0, 1, color=MISSES, alpha=0.08, linewidth=0)
            axes.set_ylim(0, 1.35 * top)
            axes.legend(**PLACE)
        load.text(0.03, 0.5, "loss", color=MISSES, transform=load.get_yaxis_transform(), va="center")


def _by_batch(axes: Axes, table: pd.DataFrame) -> None:
    numbers = sorted(table["drafts"].unique())
    contexts = (table["context"].min(), table["context"].max())
    for context, colour in zip(contexts, _dark_and_light(CONTEXTS), strict=True):
        for marker, dash, drafts in zip(MARKERS, DASHES, numbers, strict=False):
            rows = table[(table["drafts"] == drafts) & (table["context"] == context)]
            label = f"K={drafts} at {context:,} tokens"
            axes.plot(rows["batch"], rows["speedup"], marker=marker, ms=4, color=colour, linestyle=dash, label=label)
    axes.set_title("By batch, steps alone")
    axes.set_xlabel("requests in a step")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:,g}")


def _dark_and_light(colour: str) -> tuple[Any, Any]:
    return shades(colour, 2)[0], mixed(colour, PALEST)


def _by_share(axes: Axes, table: pd.DataFrame, colour: str) -> None:
    arm = table["arm"].iloc[0]
    own = table[table["arm"] == arm]
    rates = sorted(own["rate"].unique())
    tints = _dark_and_light(colour)
    for i, (marker, dash, rate) in enumerate(zip(MARKERS, DASHES, rates, strict=False)):
        rows = own[own["rate"] == rate]
        label = f"{arm} at {rate:g} requests/s"
        drawn: dict[str, Any] = {"marker": marker, "ms": 4, "linestyle": dash, "color": tints[i % 2], "label": label}
        axes.plot(100 * rows["share"], rows["speedup"], **drawn)
    axes.set_title("A worse shared drafter")
    axes.set_xlabel("its acceptance, % of one's own")
    axes.invert_xaxis()
