"""What the figures of the paper have in common: title, legend and caption, and the look of each arm."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from plots.style import PALETTE, WIDTH_IN, Look, entries, figure, log_axis, looks

BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK, GREY = PALETTE
LOOKS = looks(("isolated", "isolated-prop", "sun", "sun-half", "isolated-awq", "qsun", "qsun-half")) | {
    "colocated": Look(GREY, "s", "-"),
    "lora-r16": Look(PINK, "v", "-"),
    "lora-r64": Look(BLACK, "P", "-"),
    "lora-r16-colocated": Look(PINK, "v", ":"),
    "lora-r64-colocated": Look(BLACK, "P", ":"),
}
"""Of each arm, the same in all figures; those of SUN and its rivals have the places that they have in `zipf3.yaml`."""

LABELS = {
    "output_throughput_window": "output, all (1,000 tok/s)",
    "output_throughput_per_decode_gpu": "output per decode\nGPU (tok/s)",
    "output_throughput_per_gpu": "output per GPU,\nall (tok/s)",
    "mean_interactivity": "interactivity\n(tok/s/user)",
    "mean_tpot_ms": "mean TPOT (ms)",
    "p99_tpot_ms": "p99 TPOT (ms)",
    "mean_ttft_ms": "mean TTFT (ms)",
    "p99_ttft_ms": "p99 TTFT (ms)",
}
SCALES = {"output_throughput_window": 1e-3}
"""From a metric to the numbers at its axis, where they are others."""

HALF_WIDTH = "_half_width_95"
CAPTION_COLUMNS = 132
LINE_IN = 0.155


@dataclass(frozen=True, slots=True)
class Page:
    """Where a figure goes, without ending, and the words on it; the caption by paragraph."""

    stem: Path
    title: str
    caption: Sequence[str]


@contextmanager
def sheet(page: Page, body_in: float) -> Iterator[Figure]:
    """A figure of `body_in` inches of panels under title and legend, over the caption; written as PNG and PDF."""
    with figure(page.stem.with_suffix(".png"), body_in, page.stem.with_suffix(".pdf")) as fig:
        yield fig
        handles = entries(fig.axes)
        columns = _columns(list(handles))
        caption = [line for paragraph in page.caption for line in textwrap.wrap(paragraph, CAPTION_COLUMNS)]
        head_in = 0.36 + (0.06 + 0.2 * -(-len(handles) // columns) if handles else 0.0)
        foot_in = 0.12 + LINE_IN * len(caption)
        height_in = head_in + body_in + foot_in
        fig.set_size_inches(WIDTH_IN, height_in)
        fig.align_ylabels()
        layout: ConstrainedLayoutEngine = fig.get_layout_engine()  # type: ignore[assignment]
        layout.set(rect=(0.0, foot_in / height_in, 1.0, body_in / height_in))
        fig.text(0.01, 1 - 0.08 / height_in, page.title, va="top", fontsize=12, fontweight="bold")
        if handles:
            fig.legend(
                handles.values(),
                handles.keys(),
                loc="upper left",
                bbox_to_anchor=(0.0, 1 - 0.27 / height_in),
                ncols=columns,
                columnspacing=1.4,
                handlelength=2.2,
            )
        place = (foot_in - 0.05) / height_in
        fig.text(0.01, place, "\n".join(caption), va="top", fontsize=8.5, color="#444444")


def _columns(labels: Sequence[str]) -> int:
    """As many as there are labels, or as rows of about equal length need where they don't fit side by side."""
    needed_in = sum(0.55 + 0.075 * len(label) for label in labels)
    rows = max(1, -(-int(needed_in * 100) // int(WIDTH_IN * 100)))
    return max(1, -(-len(labels) // rows))


def panels(page: Page, metrics: Sequence[str], x_label: str) -> Iterator[tuple[Axes, str]]:
    """A row of panels, one a metric, each to be drawn in before the next is asked for; written after the last."""
    with sheet(page, 2.9) as fig:
        for axes, metric in zip(fig.subplots(1, len(metrics)), metrics, strict=True):
            yield axes, metric
            y_axis(axes, metric)
            axes.set_xlabel(x_label)


def y_axis(axes: Axes, metric: str) -> None:
    """Label and range of what is drawn: from 0 on, but logarithmic for TTFT, in which queues show."""
    axes.set_ylabel(LABELS[metric])
    if metric.endswith("ttft_ms"):
        log_axis(axes, "y")
    else:
        axes.set_ylim(bottom=0)


def line(axes: Axes, rows: pd.DataFrame, x: str, y: str, look: tuple[str, str, str], label: str) -> None:
    """Means over seeds as a line, their 95 % interval as a band, overloaded settings hollow."""
    rows = rows[rows[y].notna()]
    colour, marker, dash = look
    scale = SCALES.get(y, 1.0)
    places, middle = rows[x].astype(float), rows[y].astype(float) * scale
    half = rows[y + HALF_WIDTH].astype(float).fillna(0.0) * scale
    axes.fill_between(places, middle - half, middle + half, color=colour, alpha=0.18, linewidth=0)
    axes.plot(places, middle, dash, color=colour, marker=marker, markersize=5, label=label)
    faint = rows["overloaded"].astype(bool)
    axes.plot(places[faint], middle[faint], marker, color=colour, markerfacecolor="white", markersize=5, zorder=3)


def arms(axes: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """A line for each of the table's arms."""
    for arm, rows in table.groupby("arm", sort=False):
        line(axes, rows, x, y, LOOKS[str(arm)], str(arm))
