"""A real run against its simulation: request by request, over time, and as distributions.

Each figure is written as a PNG and returned as the text of an SVG.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plots.style import MUTED, PALETTE, figure, write_svg
from sunsim.metrics.rows import Floats

Sides = tuple[Floats, Floats]

ACTUAL: dict[str, Any] = {"color": PALETTE[6], "label": "actual", "linewidth": 1.6}
SIMULATED: dict[str, Any] = {"color": PALETTE[1], "label": "simulated", "linewidth": 1.3}
SLICES = 60
FINE_SLICES = 120
QUANTILES = 101


@contextmanager
def _drawing(path: Path, height_in: float, svg: StringIO) -> Iterator[Figure]:
    with figure(path, height_in) as fig:
        yield fig
        for axes in fig.axes:
            # A page of many runs stays small: the grid tells where the numbers are.
            axes.tick_params(bottom=False, left=False)
        write_svg(fig, svg)


def plot_scatter(sides_ms: Mapping[str, Sides], path: Path) -> str:
    """Draw simulated against actual latency, a dot a request, and the line on which they are equal.

    `sides_ms` has (actual, simulated) milliseconds by the latency's name, at most two.
    """
    svg = StringIO()
    with _drawing(path, 4.3, svg) as fig:
        for axes, (name, (actual, simulated)) in zip(_row(fig, len(sides_ms)), sides_ms.items(), strict=True):
            both = np.concatenate([actual, simulated])
            low, high = float(np.nanmin(both)), float(np.nanmax(both))
            margin = 0.04 * (high - low) or 0.05 * high or 1.0
            ends = (low - margin, high + margin)
            axes.plot(ends, ends, color=MUTED, linewidth=1, zorder=1)
            # As vectors thousands of dots would make the page slow.
            axes.scatter(actual, simulated, s=7, alpha=0.35, color=PALETTE[0], linewidths=0, rasterized=True, zorder=2)
            axes.set(xlim=ends, ylim=ends, aspect="equal")
            axes.set_title(f"{name}, a dot a request")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:,g}")
            axes.set_xlabel(f"actual {name} (ms)")
            axes.set_ylabel(f"simulated {name} (ms)")
    return svg.getvalue()


def plot_over_time(
    name: str, submit_s: Floats, sides_ms: Sides, intervals_s: Mapping[str, tuple[Sides, Sides]], path: Path
) -> str:
    """Draw a latency by time of submission, and below how many requests are where at once.

    Args:
        name: of the latency.
        submit_s: seconds, of each request.
        sides_ms: (actual, simulated) latency in milliseconds.
        intervals_s: by title, the (start, end) seconds of each request's stay, actual and simulated.
        path: of the PNG.
    """
    svg = StringIO()
    last_s = max(float(end.max()) for sides in intervals_s.values() for _, end in sides)
    edges_s = np.linspace(0, last_s, FINE_SLICES + 1)
    with _drawing(path, 1.2 + 1.9 * (1 + len(intervals_s)), svg) as fig:
        top, *others = fig.subplots(1 + len(intervals_s), 1, sharex=True)
        edges = np.linspace(float(submit_s.min()), float(submit_s.max()), SLICES + 1)
        for side_ms, line in zip(sides_ms, (ACTUAL, SIMULATED), strict=True):
            middle_s, median_ms = _medians(submit_s, side_ms, edges)
            top.plot(middle_s, median_ms, **line)
        top.set_title(f"{name}, median of the requests submitted at a time")
        top.set_ylabel("ms")
        for axes, (title, sides) in zip(others, intervals_s.items(), strict=True):
            for (start_s, end_s), line in zip(sides, (ACTUAL, SIMULATED), strict=True):
                means = _mean_open(start_s, end_s, edges_s)
                axes.stairs(means, edges_s, baseline=None, **line | {"linewidth": 1.1})
            axes.set_title(title)
            axes.set_ylabel("requests")
            axes.set_ylim(bottom=0)
        others[-1].set_xlabel("time (s)")
        others[-1].set_xlim(0, last_s)
        _legend(fig, top)
    return svg.getvalue()


def plot_ecdfs(sides_ms: Mapping[str, Sides], path: Path) -> str:
    """Draw the share of requests up to each latency, one panel a latency, both sides in each.

    `sides_ms` has (actual, simulated) milliseconds by the latency's name.
    """
    svg = StringIO()
    share = np.linspace(0, 1, QUANTILES)
    with _drawing(path, 3.6, svg) as fig:
        row = _row(fig, len(sides_ms))
        for axes, (name, sides) in zip(row, sides_ms.items(), strict=True):
            for side_ms, line in zip(sides, (ACTUAL, SIMULATED), strict=True):
                axes.plot(np.nanquantile(side_ms, share), share * 100, **line)
            axes.set_title(name)
            axes.set_xlabel("ms")
            axes.xaxis.set_major_formatter("{x:,g}")
        row[0].set_ylabel("requests up to it (%)")
        _legend(fig, row[0])
    return svg.getvalue()


def _row(fig: Figure, number: int) -> list[Axes]:
    return list(fig.subplots(1, number, squeeze=False)[0])


def _legend(fig: Figure, axes: Axes) -> None:
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)


def _medians(submit_s: Floats, values: Floats, edges: Floats) -> Sides:
    """Middle and median of each slice of time that has a value."""
    place = np.clip(np.searchsorted(edges, submit_s, side="right") - 1, 0, len(edges) - 2)
    medians = pd.Series(values).groupby(place).median().dropna()
    return ((edges[:-1] + edges[1:]) / 2)[medians.index], np.asarray(medians)


def _mean_open(start_s: Floats, end_s: Floats, edges: Floats) -> Floats:
    """How many intervals are open at once, mean over each slice of time."""

    def elapsed_s(since_s: Floats) -> Floats:
        """Seconds since each moment, summed over the moments past, at every edge."""
        since_s = np.sort(since_s)
        past = np.searchsorted(since_s, edges, side="right")
        sums: Floats = np.concatenate([[0.0], np.cumsum(since_s)])
        return np.asarray(past * edges - sums[past])

    return np.asarray(np.diff(elapsed_s(start_s) - elapsed_s(end_s)) / np.diff(edges))
