"""How every model fares in every arm, a row a model: numbers on colours, for a page."""

import textwrap
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from rich.cells import cell_len

from plots.style import PALETTE, ink, vector
from sunsim.metrics.registry import REGISTRY
from sunsim.report.entries import Arms
from sunsim.report.format import number, percent
from sunsim.visible import visible

MOST_MODELS = 40
"""Rows; of more models those that fare worst are drawn."""
NAME_LETTERS = 22
"""Of a line of a name."""
LETTER_IN, LINE_IN, CELL_IN, LEAST_IN = 0.088, 0.19, 0.62, 4.6
ANGLE = 35
"""Degrees by which names of arms are turned that would run into one another."""
BAD_TO_GOOD = LinearSegmentedColormap.from_list("bad to good", [PALETTE[3], "#FFFFFF", PALETTE[5]])
"""White where the limit is just met; vermilion and sky blue are told apart by everybody."""


class Heat(NamedTuple):
    """A figure: its title, a number between -1 (bad) and 1 (good) for each model and arm, and what is written there."""

    title: str
    good: Mapping[tuple[str, str], float]
    written: Mapping[tuple[str, str], str]


def slo_met(arms: Arms, models: Sequence[str], target: float) -> str:
    """The share of each model's requests that meet every limit, over all seeds; white at the share that is asked for."""
    met = {
        (model, arm): entry["attained"]["models"][model]["share"]
        for arm, entry in arms.items()
        for model in models
        if model in entry["attained"]["models"]
    }
    known = {place: share for place, share in met.items() if share is not None}
    good = {
        place: (share - target) / ((1 - target) or 1.0) if share >= target else share / target - 1
        for place, share in known.items()
    }
    written = {
        place: percent(share, 1).removesuffix(" %") + ("" if share >= target else "!") for place, share in known.items()
    }
    return _drawn(Heat("SLO met (% of requests)", good, written), list(arms), models)


def latency(arms: Arms, models: Sequence[str], tag: str, limits_ms: Mapping[str, float]) -> str:
    """A latency of each model's requests, with the first seed; white at the model's limit."""
    found = {
        (model, arm): entry["portrait"]["entry"]["models"][model].get(tag)
        for arm, entry in arms.items()
        for model in models
        if model in limits_ms and model in entry["portrait"]["entry"]["models"]
    }
    known = {place: value for place, value in found.items() if value is not None}
    good = {place: max(-1.0, 1 - value / limits_ms[place[0]]) for place, value in known.items()}
    one = len(set(limits_ms.values())) == 1
    title = f"{REGISTRY[tag].label}{f'; limit {number(next(iter(limits_ms.values())))}' if one else ''}"
    return _drawn(Heat(title, good, {place: number(value) for place, value in known.items()}), list(arms), models)


def _drawn(heat: Heat, arms: Sequence[str], models: Sequence[str]) -> str:
    """An empty text where nothing is known."""
    if not heat.good:
        return ""
    worst = {model: min(heat.good.get((model, arm), 1.0) for arm in arms) for model in models}
    shown = set(sorted(models, key=lambda model: worst[model])[:MOST_MODELS])
    rows = [model for model in models if model in shown]
    names = [_lines(name) for name in rows]
    heads = [_lines(name) for name in arms]
    row_in = LINE_IN * max(name.count("\n") + 1 for name in names) + 0.06
    width_in = max(LEAST_IN, max(map(_width_in, names)) + 0.2 + CELL_IN * len(arms))
    turned = max(map(_width_in, heads)) > (width_in - max(map(_width_in, names)) - 0.2) / len(arms) - 0.08
    head_in = max(map(_width_in, heads)) * 0.6 + 0.3 if turned else LINE_IN * max(h.count("\n") + 1 for h in heads)
    left_out = len(models) - len(rows)
    title = f"{heat.title}{f'; {left_out} better off left out' if left_out else ''}"
    svg = StringIO()
    with vector(svg, width_in, row_in * len(rows) + head_in + 0.4) as fig:
        axes = fig.subplots()
        _cells(axes, heat, arms, rows)
        axes.set_xticks([i + 0.5 for i in range(len(arms))], heads)
        if turned:
            axes.tick_params("x", rotation=ANGLE)
            for label in axes.get_xticklabels():
                label.set(ha="left", rotation_mode="anchor")
        axes.set_yticks([i + 0.5 for i in range(len(rows))], names)
        fig.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return svg.getvalue()


def _cells(axes: Axes, heat: Heat, arms: Sequence[str], rows: Sequence[str]) -> None:
    scale = TwoSlopeNorm(0.0, -1.0, 1.0)
    values = np.array([[heat.good.get((model, arm), np.nan) for arm in arms] for model in rows])
    axes.pcolormesh(values, cmap=BAD_TO_GOOD, norm=scale, edgecolors="white", linewidth=2)
    for y, model in enumerate(rows):
        for x, arm in enumerate(arms):
            good = heat.good.get((model, arm))
            text = heat.written.get((model, arm), "-")
            colour = "black" if good is None else ink(BAD_TO_GOOD(scale(good)))
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=colour)
    axes.set(xlim=(0, len(arms)), ylim=(len(rows), 0))
    axes.grid(visible=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _lines(name: str) -> str:
    """A name in lines of so many letters, whole."""
    return "\n".join(textwrap.wrap(visible(name), NAME_LETTERS)) or " "


def _width_in(name: str) -> float:
    """About the inches of its longest line, at the size of all text."""
    return LETTER_IN * max(map(cell_len, name.split("\n")))
