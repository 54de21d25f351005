"""The figures of a capacity plan, narrow enough to be read on a phone.

`arms` is the mapping of that name in `plan.json`. Arms for which nothing was found are left out, and a figure without any
is an empty text, else that of an SVG.
"""

from collections.abc import Callable
from io import StringIO
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from plots import model_heat
from plots.style import MUTED, NO_ARM, in_legend, ink, legend_columns, looks, pale, time_unit, vector
from sunsim.metrics.slo import limit_values, limits_of
from sunsim.report import blocks
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import gpu_count
from sunsim.visible import visible

WIDTH_IN, HEIGHT_IN = 4.6, 3.4
LETTERS_UP = 24
"""Of a label beside an axis."""
LEGEND: dict[str, Any] = {"loc": "outside upper left", "fontsize": 10, "columnspacing": 1.0, "handlelength": 1.8}
LETTERS = 52
"""Of a legend's labels, side by side."""

GOODPUT = (
    "Goodput is what meets every SLO per second; the grey line is all requests. The vertical lines are the highest rates that "
    "still pass, over all seeds."
)
PARETO = "What a GPU gives against what a user sees, prefill GPUs counted too; the large mark is the planned rate."
MET = "Over all seeds, white at the share that is asked for; ! marks what is below it."
LATE = "White at the limit, orange beyond it: one request in a hundred takes longer than these."
SHADES: dict[str, tuple[Callable[[str], Any], str]] = {
    "colocated": (str, "//"),
    "decode": (str, ""),
    "prefill": (pale, ""),
}
"""Of an arm's colour, and hatching, by what its GPUs do."""
SERIES = {
    "batch_fullest": ("batch of the fullest decode worker", 1.0),
    "batch_mean": ("batch, mean of decode workers", 1.0),
    "kv_fullest": ("KV in use, fullest decode worker (%)", 100.0),
    "prefill_waiting": ("requests waiting for prefill", 1.0),
    "decode_waiting": ("requests waiting for decode", 1.0),
}


def pictures(plan: Entry) -> dict[str, list[blocks.Figure]]:
    """All of a plan, the content of `plan.json`, by the part of its report that they stand in."""
    arms, window = plan["arms"], plan["window"]
    rate = [(GOODPUT, goodput(arms, plan["rate_rps"])), (PARETO, pareto(arms))]
    drawn, models, slo = _drawn(arms), plan["models"], plan["slo"]
    heat = [(MET, model_heat.slo_met(drawn, models, plan["attainment"]))]
    of_model = {model: limits_of(slo, model) for model in models}
    for key in limit_values(slo, models):
        own = {model: limits[key] for model, limits in of_model.items() if key in limits}
        heat.append((LATE, model_heat.latency(drawn, models, f"p99_{key}", own)))
    window_s = (window["start_s"], window["end_s"])
    times = [over_time(arms, tag, label, window_s, scale) for tag, (label, scale) in SERIES.items()]
    return {
        "gpus": [blocks.Figure("GPUs of the pools that the figures below are of.", gpu_bars(arms))],
        "rate": [] if window["too_short"] else [blocks.Figure(*each) for each in rate],
        "models": [blocks.Figure(*each) for each in heat],
        "workers": [blocks.Figure(svg=svg) for svg in times],
    }


def gpu_bars(arms: Arms) -> str:
    """GPUs of each arm, those that only prefill and those that decode."""
    look, arms = looks(arms), _drawn(arms)
    if not arms:
        return ""
    svg = StringIO()
    with vector(svg, WIDTH_IN, 1.1 + 0.42 * len(arms)) as fig:
        axes = fig.subplots()
        left = [0] * len(arms)
        shades = {stage: how for stage, how in SHADES.items() if any(stage in arm["gpus"] for arm in arms.values())}
        for stage, (shade, hatch) in shades.items():
            sizes = [arm["gpus"].get(stage, 0) for arm in arms.values()]
            colours = [shade(look[name].colour) for name in arms]
            bars = axes.barh(
                range(len(arms)), sizes, left=left, color=colours, height=0.62, hatch=hatch, edgecolor="white"
            )
            inside = axes.bar_label(bars, [gpu_count(size) if size else "" for size in sizes], label_type="center")
            for text, colour in zip(inside, colours, strict=True):
                text.set_color(ink(colour))
                text.set_bbox({"facecolor": colour if text.get_text() else "none", "edgecolor": "none", "pad": 1.0})
            left = [one + size for one, size in zip(left, sizes, strict=True)]
        for place, total in enumerate(left):
            axes.annotate(
                gpu_count(total), (total, place), (5, 0), textcoords="offset points", va="center", weight="bold"
            )
        axes.set_yticks(range(len(arms)), list(map(visible, arms)))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.1)
        axes.set_xlabel("GPUs")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        patches = [
            Patch(facecolor=shade(NO_ARM), edgecolor="white", hatch=hatch, label=stage)
            for stage, (shade, hatch) in shades.items()
        ]
        fig.legend(handles=patches, **LEGEND, ncols=3)
    return svg.getvalue()


def goodput(arms: Arms, rate_rps: float) -> str:
    """Goodput of each arm's pool against the rate, and the knee: the highest rate at which it still passes."""

    def draw(axes: Axes, drawn: Arms, style: Arms) -> None:
        most = 0.0
        for name, arm in drawn.items():
            points = [
                (rate_rps * p["rate"], p["request_goodput"]) for p in arm["curve"] if p["request_goodput"] is not None
            ]
            axes.plot(*zip(*points, strict=True), **style[name])
            most = max([most, *(x for x, _ in points)])
            knee = arm["rates"] and arm["rates"]["passes"]
            if knee:
                axes.axvline(
                    rate_rps * knee, color=style[name]["color"], linestyle=style[name]["linestyle"], linewidth=1
                )
        axes.plot([0, most], [0, most], color=MUTED, linewidth=1, zorder=0)
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.set_xlabel("requests/s; vertical: highest that passes")
        axes.set_ylabel("goodput (requests/s)")

    return _of_arms(arms, draw)


def pareto(arms: Arms) -> str:
    """Output per GPU against interactivity, along the rates; the large mark is the planned rate."""

    def draw(axes: Axes, drawn: Arms, style: Arms) -> None:
        for name, arm in drawn.items():
            points = [p for p in arm["curve"] if p["median_interactivity"] and p["output_throughput_per_gpu"]]
            x, y = ([p[tag] for p in points] for tag in ("median_interactivity", "output_throughput_per_gpu"))
            axes.plot(x, y, **style[name])
            planned = [(a, b) for p, a, b in zip(points, x, y, strict=True) if p["rate"] == 1]
            axes.plot(*zip(*planned, strict=True), **{**style[name], "markersize": 10, "label": None})
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.set_xlabel("interactivity, median (tok/s/user)")
        axes.set_ylabel("output per GPU (tok/s)")

    return _of_arms(arms, draw)


def over_time(arms: Arms, series: str, label: str, window_s: tuple[float, float], times: float = 1.0) -> str:
    """A series of the portraits, its values multiplied; the measured window is shaded."""

    def draw(axes: Axes, drawn: Arms, style: Arms) -> None:
        begin_s = min(arm["portrait"]["over_time"]["time_s"][0] for arm in drawn.values())
        unit, unit_s = time_unit(window_s[1] - begin_s)
        for name, arm in drawn.items():
            values = arm["portrait"]["over_time"]
            line = {**style[name], "marker": "", "linewidth": 1.2}
            time = [time_s / unit_s for time_s in values["time_s"]]
            axes.plot(time, [times * value for value in values[series]], **line)
        axes.axvspan(window_s[0] / unit_s, window_s[1] / unit_s, color="#F4F4F4", zorder=0)
        axes.set_xlim(begin_s / unit_s, window_s[1] / unit_s)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"time ({unit}); shaded: measured")
        # A line longer than the axis is high would run into the legend.
        axes.set_ylabel(fill(label, LETTERS_UP))

    return _of_arms(arms, draw, series)


def _drawn(arms: Arms, series: str = "") -> Arms:
    """The arms that have a pool, and the series over time if one is given."""
    return {
        name: arm
        for name, arm in arms.items()
        if arm["gpus"] and arm["portrait"] and arm["curve"] and (not series or series in arm["portrait"]["over_time"])
    }


def _of_arms(arms: Arms, draw: Callable[[Axes, Arms, Arms], None], series: str = "") -> str:
    """A figure in which each arm has the look of its place in the plan."""
    drawn = _drawn(arms, series)
    if not drawn:
        return ""
    style = {
        name: {
            "color": look.colour,
            "marker": look.marker,
            "linestyle": look.dash,
            "markersize": 5,
            "label": in_legend(name),
        }
        for name, look in looks(arms).items()
    }
    svg = StringIO()
    with vector(svg, WIDTH_IN, HEIGHT_IN) as fig:
        axes = fig.subplots()
        draw(axes, drawn, style)
        _legend(fig, axes)
    return svg.getvalue()


def _legend(fig: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = legend_columns(labels, LETTERS)
    fig.legend(handles, labels, **LEGEND, ncols=columns)
