"""What a trace looks like: rate over time, lengths, popularity."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from plots.style import MUTED, PALETTE, figure, log_axis, time_unit
from sunsim.visible import visible
from sunsim.workload.traces.rows import TraceRows

WIDTHS_S = (1, 10, 60, 600, 3600, 86_400)
MOST_INTERVALS = 250
MOST_MODELS = 10
LONGEST = 24
"""Characters of a model's name that are shown."""
BINS = 60


def plot_trace(rows: TraceRows, models: Mapping[str, int] | None, title: str, path: Path) -> None:
    """Draw a trace.

    Args:
        rows: its requests, by arrival.
        models: requests of each model, most popular first; None without names of models.
        title: of the figure.
    """
    with figure(path, 5.8) as fig:
        fig.suptitle(visible(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
        grid = fig.add_gridspec(2, 1)
        panels = grid[1].subgridspec(1, 3 if models else 2)
        _rate(fig.add_subplot(grid[0]), rows)
        _lengths(fig.add_subplot(panels[0]), rows.prompt_tokens, "prompt", PALETTE[0])
        _lengths(fig.add_subplot(panels[1]), rows.output_tokens, "output", PALETTE[1])
        if models:
            _popularity(fig.add_subplot(panels[2]), models)


def _rate(axes: Axes, rows: TraceRows) -> None:
    # Later rounds of sessions that wait for each other's end arrive when a run says.
    what, known_s = (
        ("request", rows.arrival_s) if rows.rounds is None else ("session", rows.arrival_s[rows.rounds.opens])
    )
    arrival_s = known_s - known_s[0]
    last_s = float(arrival_s[-1])
    width_s = next((width for width in WIDTHS_S if last_s <= width * MOST_INTERVALS), WIDTHS_S[-1])
    # The last interval is whole only by chance.
    whole = max(1, int(last_s // width_s))
    interval = (arrival_s // width_s).astype(np.int64)
    rate = np.bincount(interval[interval < whole], minlength=whole) / width_s
    unit, unit_s = time_unit(last_s)
    edges = np.arange(whole + 1) * width_s / unit_s
    axes.stairs(rate, edges, baseline=None, color=PALETTE[0], linewidth=1.4)
    mean = ""
    if last_s > 0:
        mean_rate = (arrival_s.size - 1) / last_s
        axes.axhline(mean_rate, color=MUTED, linestyle=":")
        mean = f"; mean {mean_rate:.3g} (dotted)"
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_title(f"{what.capitalize()}s/s in intervals of {width_s:,} s{mean}")
    axes.set_xlabel(f"time since the first {what} ({unit})")
    axes.set_ylabel(f"{what}s/s")


def _lengths(axes: Axes, tokens: NDArray[np.int64], kind: str, colour: str) -> None:
    # Where tokens are few, not every bin would have a whole number.
    edges = np.unique(np.ceil(np.geomspace(tokens.min(), tokens.max() + 1, BINS + 1)))
    counts, _ = np.histogram(tokens, edges)
    axes.stairs(counts / len(tokens) * 100, edges, fill=True, color=colour, alpha=0.7)
    median, high = np.percentile(tokens, (50, 99))
    for level, style in ((median, "-"), (high, "--")):
        axes.axvline(level, color="black", linestyle=style, linewidth=1)
    log_axis(axes, "x")
    axes.set_title(f"{kind.capitalize()}s")
    axes.set_xlabel(f"{kind} tokens, log scale\np50 {median:,.0f} (line), p99 {high:,.0f} (dashed)")
    axes.set_ylabel("requests (%)")


def _popularity(axes: Axes, models: Mapping[str, int]) -> None:
    shown = dict(list(models.items())[:MOST_MODELS])
    total = sum(models.values())
    others = len(models) - len(shown)
    if others:
        shown[f"{others} others"] = total - sum(shown.values())
    axes.barh(range(len(shown)), [requests / total * 100 for requests in shown.values()], color=PALETTE[2])
    axes.set_yticks(range(len(shown)), [_short(visible(name)) for name in shown])
    axes.tick_params("y", labelsize=9)
    axes.invert_yaxis()
    axes.set_title("Models")
    axes.set_xlabel("requests (%)")


def _short(name: str) -> str:
    """Cut in the middle, as names of models differ at their ends."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"
