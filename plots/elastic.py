"""A day of changing traffic: what arrives, the GPUs that each arm holds for it, and where it misses the SLO."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plots.style import NO_ARM, Look, figure, in_legend, legend_columns, looks, shades, time_unit
from sunsim.metrics.held import Held, held_by_pool
from sunsim.metrics.over_time import counts, edges, handy_s
from sunsim.metrics.rows import Bools, Floats, Requests, Window
from sunsim.metrics.slo import limits_each, meets_slo
from sunsim.metrics.worst import FEWEST
from sunsim.report.format import number, percent
from sunsim.visible import visible

STRETCHES = 200
"""Of the load, at most; a third of them of the misses, each of which should hold enough requests to tell a share."""
MOST_MODELS = 6
"""That are told apart; of more the five with most requests."""
MISSED = (0.01, 0.05, 0.2)
"""Shares of missed requests from which on a stretch is pale, darker, and of the arm's own colour."""
ROW_IN = 0.36
"""Of an arm's misses."""


def plot_elastic(
    arms: Mapping[str, pd.DataFrame], sizes: Mapping[str, pd.DataFrame], summary: Mapping[str, Any], path: Path
) -> None:
    """Draw load, GPUs and misses over the same time, an arm in one colour throughout.

    Args:
        arms: the result rows of each.
        sizes: of the pools of those that have elastic ones, with `records.SIZE_COLUMNS`.
        summary: of the run; where it has no SLO there are no misses.
    """
    entries, look = summary["arms"], looks(arms)
    window, slo = Window(**summary["window"]), summary["slo"] or {}
    first = min(float(rows["arrival_s"].min()) for rows in arms.values())
    # Drawn requests come from 0 on, those of a trace whenever its clock says.
    begin_s = first if window.start_s and first > window.start_s / 2 else 0.0
    span_s = (begin_s, max(window.end_s, begin_s + 1.0))
    unit, unit_s = time_unit(span_s[1] - span_s[0])
    heights = [1.5, 2.2, *([0.25 + ROW_IN * len(arms)] if slo else [])]
    with figure(path, 1.3 + sum(heights)) as fig:
        panels = fig.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        _load(panels[0], arms, span_s, unit_s)
        _gpus(panels[1], entries, sizes, look, span_s, unit_s)
        if slo:
            _misses(panels[2], arms, summary, look, span_s, unit_s)
        for axes in panels[:2] if window.start_s > span_s[0] else ():
            axes.axvspan(window.start_s / unit_s, window.end_s / unit_s, color="#F4F4F4", zorder=0)
        panels[-1].set_xlim(span_s[0] / unit_s, span_s[1] / unit_s)
        panels[-1].set_xlabel(f"time ({unit}){'; shaded: measured' if window.start_s > span_s[0] else ''}")
        if unit == "h":
            panels[-1].xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 3, 6, 10]))
        signs = [_sign(name, own) for name, own in look.items()]
        fig.legend(handles=signs, loc="outside lower center", ncols=legend_columns(list(look)))


def _sign(name: str, look: Look) -> Line2D:
    drawn: dict[str, Any] = {"color": look.colour, "linestyle": look.dash}
    return Line2D([], [], **drawn, label=in_legend(name))


def _load(axes: Axes, arms: Mapping[str, pd.DataFrame], span_s: tuple[float, float], unit_s: float) -> None:
    """Requests a second, of few models one on top of another."""
    (name, rows), *others = arms.items()
    arrival_s = rows["arrival_s"].to_numpy(np.float64)
    same = all(np.array_equal(arrival_s, other["arrival_s"].to_numpy(np.float64)) for _, other in others)
    stretches = edges(*span_s, handy_s(span_s[1] - span_s[0], STRETCHES))
    codes, models = pd.factorize(rows["model"])
    order = np.argsort(-np.bincount(codes), kind="stable").tolist()
    shown = order if len(order) <= MOST_MODELS else order[: MOST_MODELS - 1]
    parts = {str(models[i]): codes == i for i in shown}
    if len(shown) < len(order):
        parts[f"{len(order) - len(shown)} others"] = ~np.isin(codes, shown)
    below = np.zeros(len(stretches) - 1)
    for (model, own), shade in zip(parts.items(), shades(NO_ARM, len(parts)), strict=True):
        above = below + counts(arrival_s, own, stretches) / np.diff(stretches)
        axes.stairs(above, stretches / unit_s, baseline=below, fill=True, color=shade, label=in_legend(model))
        below = above
    axes.set_title(f"Requests that arrive{'' if same else f' in {visible(name)}'}")
    axes.set_ylabel("requests/s")
    axes.set_ylim(0, 1.08 * below.max() or 1.0)
    if len(parts) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.0, reverse=True)


def _gpus(
    axes: Axes,
    entries: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, pd.DataFrame],
    look: Mapping[str, Look],
    span_s: tuple[float, float],
    unit_s: float,
) -> None:
    """Steps of what each arm holds; where lines lie on one another, those below are wider."""
    highest = 0.0
    for (name, entry), width in zip(entries.items(), np.linspace(3.2, 1.4, len(entries)).tolist(), strict=True):
        held = Held.total([*held_by_pool(entry["workers"], sizes.get(name)).values()])
        inside = (held.at_s > span_s[0]) & (held.at_s < span_s[1])
        at_s = np.array([span_s[0], *held.at_s[inside], span_s[1]])
        gpus = held.at(at_s[:-1]).sum(axis=1)
        own = look[name]
        axes.step(
            at_s / unit_s,
            np.append(gpus, gpus[-1]),
            where="post",
            color=own.colour,
            linestyle=own.dash,
            linewidth=width,
        )
        highest = max(highest, float(gpus.max()))
    axes.set_title("GPUs held, starting and draining ones too")
    axes.set_ylabel("GPUs")
    axes.set_ylim(0, 1.08 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _misses(
    axes: Axes,
    arms: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    look: Mapping[str, Look],
    span_s: tuple[float, float],
    unit_s: float,
) -> None:
    """A band an arm, darker where a larger share of the requests that arrive misses the SLO."""
    requests = len(next(iter(arms.values())))
    most = int(np.clip(requests / FEWEST, 1, STRETCHES // 3))
    length_s = handy_s(span_s[1] - span_s[0], most)
    asked_s = summary["worst_window_s"]
    if asked_s and length_s <= 2 * asked_s and asked_s * STRETCHES >= span_s[1] - span_s[0]:
        length_s = asked_s
    stretches = edges(*span_s, length_s)
    for row, (name, rows) in enumerate(arms.items()):
        found = Requests.from_rows(rows)
        met = meets_slo(found, limits_each(summary["slo"], rows["model"]))
        _band(axes, row, _missed(found.arrival_s, met, stretches), stretches / unit_s, look[name])
        text: dict[str, Any] = {"fontsize": 8.5, "va": "center", "color": NO_ARM}
        # What is written may go on beyond the axes, which would otherwise make room for it.
        axes.text(span_s[0] / unit_s, row + 0.27, _said(name, summary), **text).set_in_layout(False)
    bounds = [f"{bound * 100:g} %" for bound in MISSED]
    axes.set_title(
        f"SLO missed in stretches of {_length(length_s)}: pale from {bounds[0]} of the requests on, darker from {bounds[1]}, "
        f"full from {bounds[2]}",
        fontsize=10,
    )
    axes.set_ylim(len(arms), 0)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


def _missed(arrival_s: Floats, met: Bools, stretches: Floats) -> Floats:
    """[stretches]: shares, 0 where nothing arrives."""
    came = counts(arrival_s, np.ones(len(met), np.bool_), stretches)
    return np.asarray(counts(arrival_s, ~met, stretches) / np.maximum(came, 1), np.float64)


def _band(axes: Axes, row: int, missed: Floats, at: Floats, look: Look) -> None:
    axes.fill_between(at[[0, -1]], row + 0.5, row + 0.95, color="#F4F4F4", linewidth=0, zorder=1)
    for bound, alpha in zip(MISSED, (0.3, 0.5, 1.0), strict=True):
        # Drawn one over the other, so that the later ones are darker.
        over = np.append(missed >= bound, missed[-1] >= bound)
        band: dict[str, Any] = {"color": look.colour, "alpha": alpha, "linewidth": 0, "zorder": 2}
        axes.fill_between(at, row + 0.5, row + 0.95, where=over.tolist(), step="post", **band)


def _said(name: str, summary: Mapping[str, Any]) -> str:
    entry = summary["arms"][name]
    met, worst = entry["slo_attainment"], entry["worst_window_slo_attainment"]
    in_worst = f", {percent(worst, 1)} in the worst {summary['worst_window_s']:g} s" if worst is not None else ""
    return f"{visible(name)}: {number(entry['gpu_hours'])} GPU-hours, SLO met {percent(met, 1)}{in_worst}"


def _length(length_s: float) -> str:
    for size_s, unit in ((3600, "h"), (60, "min")):
        if length_s >= size_s:
            return f"{length_s / size_s:g} {unit}"
    return f"{length_s:g} s"
