"""What a sweep finds: each arm's figures over a swept value, with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from plots.style import Look, entries, figure, in_legend, legend_columns, log_axis, looks
from sunsim.visible import visible, visible_lines

LOG_FROM = 30.0
"""Largest over smallest value from which an axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mean at a swept value, half the width of its interval (0 if it has none); `faint` if it stands for little."""

    x: float
    mean: float
    half_width: float
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of panels: its title, and for each metric's label each arm's marks."""

    title: str
    panels: Mapping[str, Mapping[str, Sequence[Mark]]]


def plot_sweep(
    rows: Sequence[Row], arms: Sequence[str], x_label: str, path: Path, ticks: Sequence[str] = (), note: str = ""
) -> None:
    """Draw a panel a metric, in a row for each setting of whatever else is swept; a metric has one scale in all rows.

    Args:
        arms: all of the scenario.
        ticks: names of the places 0, 1, ... on the x axis where the swept values are no numbers.
        note: what the figure is to be read with, below its title.
    """
    look = looks(arms)
    with figure(path, 0.9 + 2.9 * len(rows)) as fig:
        grid = fig.subplots(len(rows), len(rows[0].panels), squeeze=False, sharex=True, sharey="col")
        for row, line in zip(rows, grid, strict=True):
            for (label, marks), axes in zip(row.panels.items(), line, strict=True):
                _panel(axes, marks, look)
                axes.set_ylabel(label)
                if ticks:
                    axes.set_xticks(range(len(ticks)), list(map(visible, ticks)))
            line[0].set_title(visible(row.title))
        for axes, label in zip(grid[0], rows[0].panels, strict=True):
            _scale(axes, [mark.mean for row in rows for marks in row.panels[label].values() for mark in marks])
        for axes in grid[-1]:
            axes.set_xlabel(x_label)
        handles = entries(grid.flat)
        if handles:
            fig.legend(
                handles.values(), handles.keys(), loc="outside lower center", ncols=legend_columns(list(handles))
            )
        fig.suptitle(visible_lines(note), x=0.01, ha="left", fontsize=10)


def _panel(axes: Axes, arms: Mapping[str, Sequence[Mark]], look: Mapping[str, Look]) -> None:
    for name, marks in arms.items():
        colour, marker, dash = look[name]
        places = [mark.x for mark in marks]
        axes.errorbar(
            places,
            [mark.mean for mark in marks],
            [mark.half_width for mark in marks],
            marker=marker,
            capsize=3,
            markersize=5,
            color=colour,
            linestyle=dash,
            label=in_legend(name),
        )
        hollow = [mark for mark in marks if mark.faint]
        axes.plot(
            [mark.x for mark in hollow],
            [mark.mean for mark in hollow],
            marker,
            color=colour,
            markerfacecolor="white",
            markersize=5,
            zorder=3,
        )


def _scale(axes: Axes, means: Sequence[float]) -> None:
    """Of a panel and all that share its y axis: from 0 on, or logarithmic."""
    if means and min(means) > 0 and max(means) > LOG_FROM * min(means):
        log_axis(axes, "y")
    elif means:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:,g}")
