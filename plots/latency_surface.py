"""A profile: measured step times and the line that the latency model draws through them."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure

from plots.style import PALETTE, figure
from sunsim.visible import visible


def plot_latency_surface(
    decode_points: pd.DataFrame,
    decode_lines: pd.DataFrame,
    prefill_points: pd.DataFrame,
    prefill_line: pd.DataFrame,
    title: str,
    path: Path,
    points: str = "measured",
) -> None:
    """Draw decode step time against batch, coloured by context, and prefill step time against prompt length.

    Decode frames have `batch`, `context_per_request` (tokens) and `step_ms`, prefill frames `new_tokens` and
    `step_ms`; `points` says what the points are, lines are the model's.
    """
    with figure(path, 4.4) as fig:
        # Apart, so that the label of the colours is not taken for that of the panel beside it.
        left, right = fig.subplots(1, 2, width_ratios=(3, 2), gridspec_kw={"wspace": 0.08})
        _decode(fig, left, decode_points, decode_lines, points)
        _prefill(right, prefill_points, prefill_line, points)
        fig.suptitle(visible(title), x=0.01, ha="left", fontsize=10)


def _decode(fig: Figure, axes: Axes, points: pd.DataFrame, lines: pd.DataFrame, what: str) -> None:
    contexts = [*points["context_per_request"], *lines["context_per_request"]]
    norm = LogNorm(min(contexts), max(contexts))
    # The last of viridis is a yellow that is faint on white.
    shade = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.9, 256)))
    axes.scatter(points["batch"], points["step_ms"], c=points["context_per_request"], cmap=shade, norm=norm, s=16)
    for context, line in lines.groupby("context_per_request"):
        axes.plot(line["batch"], line["step_ms"], color=shade(norm(float(str(context)))), linewidth=1.1)
    bar = fig.colorbar(ScalarMappable(norm, shade), ax=axes, pad=0.01)
    ticks = sorted(set(lines["context_per_request"]))
    bar.set_ticks(ticks, labels=[f"{tick:,.0f}" for tick in ticks], minor=False)
    bar.minorticks_off()
    bar.set_label("context per request (tokens)")
    axes.set_title(f"Decode step (points {what}, lines model)")
    axes.set_xlabel("batch (requests)")
    axes.set_ylabel("step time (ms)")
    axes.set_ylim(bottom=0)


def _prefill(axes: Axes, points: pd.DataFrame, line: pd.DataFrame, what: str) -> None:
    axes.plot(points["new_tokens"], points["step_ms"], "o", color=PALETTE[3], markersize=4, label=what)
    axes.plot(line["new_tokens"], line["step_ms"], color=PALETTE[0], label="model, one prompt")
    axes.set_title("Prefill step")
    axes.set_xlabel("new prompt in the step (tokens)")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_ylabel("step time (ms)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")
