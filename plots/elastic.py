"""A day of changing traffic: what arrives, the GPUs that each arm holds for it, and where it misses the SLO."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from plots.style import LEGIBLE_LETTERS, MISSES, MUTED, NO_ARM, figure, in_legend, looks, mixed, shades, time_unit
from sunsim.metrics.held import STATES, Held, held_by_pool
from sunsim.metrics.over_time import counts, edges, handy_s
from sunsim.metrics.rows import Bools, Floats, Requests, Window
from sunsim.metrics.slo import limits_each, meets_slo
from sunsim.metrics.worst import FEWEST
from sunsim.report.format import count, number, percent
from sunsim.visible import visible

STRETCHES = 200
"""Of the load, at most."""
BANDS = 150
"""Of the misses, at most; twice as many where the worst window's length is asked for."""
MOST_MODELS = 4
"""That are told apart by their greys; of more the three with most requests."""
MISSED = (0.01, 0.05, 0.2)
"""Shares of missed requests from which on a stretch is pale, darker, and of the full colour."""
MIXED = (0.3, 0.6, 1.0)
"""Of the colour of misses in these; the rest is white."""
UNUSED = 0.35
"""Of an arm's colour, for GPUs that are held and do not serve."""
BAND = (-0.3, -0.1)
"""Where an arm's misses are, in parts of the highest number of GPUs."""
FRAME_IN, ROW_IN, LOW_ROW_IN = 2.6, 1.05, 0.55
"""Height of all but the arms, of an arm, and of one of many."""
HIGH_IN = 12.0
"""Of the picture, at most, while rows are not lower than the low ones."""


def plot_elastic(
    arms: Mapping[str, pd.DataFrame], sizes: Mapping[str, pd.DataFrame], summary: Mapping[str, Any], path: Path
) -> None:
    """Draw the load, and below it for each arm the GPUs that it holds and where it misses the SLO, all over the same time.

    Args:
        arms: the result rows of each.
        sizes: of the pools of those that have elastic ones, with `records.SIZE_COLUMNS`.
        summary: of the run; where it has no SLO there are no misses.
    """
    window, entries = Window(**summary["window"]), summary["arms"]
    span_s = _span_s(arms, window)
    unit, unit_s = time_unit(span_s[1] - span_s[0])
    held = {
        name: Held.total([*held_by_pool(entry["workers"], sizes.get(name)).values()]) for name, entry in entries.items()
    }
    steps = {name: _steps(own, span_s) for name, own in held.items()}
    highest = max(float(gpus.sum(axis=1).max()) for _, gpus in steps.values())
    stretches = _stretches(arms, summary, span_s) if summary["slo"] else None
    row_in = max(min(ROW_IN, (HIGH_IN - FRAME_IN) / len(arms)), LOW_ROW_IN)
    low = row_in < 0.8 * ROW_IN
    with figure(path, FRAME_IN + row_in * len(arms)) as fig:
        load, *rows = fig.subplots(
            1 + len(arms), 1, sharex=True, height_ratios=[1.2 * ROW_IN / row_in if low else 1.5, *[1.0] * len(arms)]
        )
        _load(load, arms, span_s, unit_s)
        base_s, base = next(iter(steps.values()))
        for axes, (name, look) in zip(rows, looks(arms).items(), strict=True):
            _gpus(axes, steps[name], look.colour, unit_s)
            axes.stairs(base.sum(axis=1), base_s / unit_s, color=NO_ARM, linestyle=":", linewidth=1.2, baseline=None)
            if stretches is not None:
                _misses(axes, _missed(arms[name], summary["slo"], stretches), stretches / unit_s, highest)
            said = textwrap.wrap(_said(name, summary), LEGIBLE_LETTERS)
            axes.set_title("\n".join(said), fontsize=9, fontweight="normal", pad=2 if low else None)
            axes.set_ylim(BAND[0] * highest if stretches is not None else 0, 1.08 * highest)
            # Below 0 there are the misses.
            axes.yaxis.set_major_locator(MaxNLocator(2 if low else 4, integer=True))
            axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.08 * highest])
        _name_gpus(fig, rows, low=low)
        for axes in (load, *rows) if window.start_s > span_s[0] else ():
            axes.axvspan(window.start_s / unit_s, window.end_s / unit_s, color="#F4F4F4", zorder=0)
        load.set_xlim(span_s[0] / unit_s, span_s[1] / unit_s)
        rows[-1].set_xlabel(f"time ({unit}){'; shaded: measured' if window.start_s > span_s[0] else ''}")
        if unit == "h":
            load.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 3, 6, 10]))
        fig.legend(handles=_signs(stretches), loc="outside lower center", ncols=3)


def _name_gpus(fig: Figure, rows: Sequence[Axes], *, low: bool) -> None:
    """Beside each arm, or where rows are too low for it once beside all, which then lie closer together."""
    if not low:
        for axes in rows:
            axes.set_ylabel("GPUs")
        return
    fig.supylabel("GPUs", fontsize=10)
    for axes in rows[:-1]:
        axes.tick_params(axis="x", length=0)
    engine = fig.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(h_pad=0.02)


def _span_s(arms: Mapping[str, pd.DataFrame], window: Window) -> tuple[float, float]:
    """From 0, or from when a trace's clock shows its first request, to the end of the window."""
    first_s = min(float(rows["arrival_s"].min()) for rows in arms.values())
    begin_s = first_s if first_s > (window.end_s - first_s) / 10 else 0.0
    return begin_s, window.end_s if window.end_s > begin_s else begin_s + 1.0


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


def _steps(held: Held, span_s: tuple[float, float]) -> tuple[Floats, Floats]:
    """[steps + 1] where they begin and the last one ends, and [steps, states] GPUs."""
    inside = (held.at_s > span_s[0]) & (held.at_s < span_s[1])
    at_s = np.array([span_s[0], *held.at_s[inside], span_s[1]])
    return at_s, held.at(at_s[:-1])


def _gpus(axes: Axes, steps: tuple[Floats, Floats], colour: str, unit_s: float) -> None:
    """Those that serve, and on top of them those that are held all the same."""
    at, gpus = steps[0] / unit_s, steps[1]
    ready = gpus[:, STATES.index("ready")]
    axes.stairs(gpus.sum(axis=1), at, fill=True, color=mixed(colour, UNUSED))
    axes.stairs(ready, at, fill=True, color=colour)


def _stretches(arms: Mapping[str, pd.DataFrame], summary: Mapping[str, Any], span_s: tuple[float, float]) -> Floats:
    """As long as the worst window where that is not too short to be seen; with enough requests each, in the mean."""
    length_s, asked_s = span_s[1] - span_s[0], summary["worst_window_s"]
    requests = len(next(iter(arms.values())))
    if asked_s and length_s <= min(2 * BANDS, requests / FEWEST) * asked_s:
        return edges(*span_s, asked_s)
    return edges(*span_s, handy_s(length_s, int(np.clip(requests / FEWEST, 1, BANDS))))


def _missed(rows: pd.DataFrame, slo: Mapping[str, Any], stretches: Floats) -> Floats:
    """[stretches]: of the requests that arrive in each, the share that misses the SLO; 0 where none does arrive."""
    requests = Requests.from_rows(rows)
    met: Bools = meets_slo(requests, limits_each(slo, rows["model"]))
    came = counts(requests.arrival_s, np.ones_like(met), stretches)
    return np.asarray(counts(requests.arrival_s, ~met, stretches) / np.maximum(came, 1), np.float64)


def _misses(axes: Axes, missed: Floats, at: Floats, highest: float) -> None:
    """Bars of stretches side by side that are of the same darkness, on a white band from end to end."""
    place = (BAND[0] * highest, (BAND[1] - BAND[0]) * highest)
    axes.broken_barh([(at[0], at[-1] - at[0])], place, facecolors="white", edgecolors=MUTED, linewidth=0.8)
    level = np.searchsorted(MISSED, missed, side="right")
    begins = np.flatnonzero(np.diff(level, prepend=-1))
    ends = np.append(begins[1:], len(level))
    for darkness, share in enumerate(MIXED, start=1):
        own = level[begins] == darkness
        spans = [(at[begin], at[end] - at[begin]) for begin, end in zip(begins[own], ends[own], strict=True)]
        axes.broken_barh(spans, place, facecolors=mixed(MISSES, share))


def _said(name: str, summary: Mapping[str, Any]) -> str:
    """What an arm takes and what it meets."""
    entry = summary["arms"][name]
    mean, most = entry["mean_gpus"], entry["peak_gpus"]
    gpus = f"{number(mean)} GPUs in the mean, {count(most)} at most" if mean != most else f"{count(most)} GPUs"
    said = f"{visible(name)}: {number(entry['gpu_hours'])} GPU-hours ({gpus})"
    met, worst = entry["slo_attainment"], entry["worst_window_slo_attainment"]
    if met is None:
        return said
    return f"{said}; SLO met {percent(met, 1)}" + (
        f", in the worst {summary['worst_window_s']:g} s {percent(worst, 1)}" if worst is not None else ""
    )


def _signs(stretches: Floats | None) -> list[Patch | Line2D]:
    """What all arms have in their own colours."""
    signs: list[Patch | Line2D] = [
        Patch(color=NO_ARM, label="GPUs that serve"),
        Patch(color=mixed(NO_ARM, UNUSED), label="held, but starting, draining or warm"),
        Line2D([], [], color=NO_ARM, linestyle=":", linewidth=1.2, label="GPUs of the first arm"),
    ]
    if stretches is None:
        return signs
    length = _length(float(stretches[1] - stretches[0]))
    bounds = [f"{bound * 100:g} %" for bound in MISSED]
    labels = [
        f"below: of the requests in {length}, {bounds[0]} or more miss the SLO",
        f"{bounds[1]} or more",
        f"{bounds[2]} or more",
    ]
    bands = [Patch(color=mixed(MISSES, share), label=label) for share, label in zip(MIXED, labels, strict=True)]
    return [sign for pair in zip(signs, bands, strict=True) for sign in pair]


def _length(length_s: float) -> str:
    for size_s, unit in ((3600, "h"), (60, "min")):
        if length_s >= size_s:
            return f"{length_s / size_s:g} {unit}"
    return f"{length_s:g} s"
