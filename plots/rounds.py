"""What the rounds of sessions waited for their first token, and what of their prompts was cached, by round and arm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plots.style import NO_ARM, Look, figure, in_legend, legend_columns, looks, pale

FEW = 20
"""Requests of a round below which its marks are hollow."""


def plot_rounds(arms: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw TTFT and the cached share of the prompts by round, a line an arm.

    `arms` are the entries of a summary with sessions.
    """
    look = looks(arms)
    with figure(path, 4.0) as fig:
        waited, cached = fig.subplots(1, 2)
        # Lines of arms that do the same lie on one another: the marks of those below are larger.
        for size, (name, entry) in zip(np.linspace(8, 4, len(arms)).tolist(), arms.items(), strict=True):
            own, rounds = look[name], entry["rounds"]
            _line(waited, rounds, "p99_ttft_ms", own._replace(colour=to_hex(pale(own.colour))), size, "")
            _line(waited, rounds, "mean_ttft_ms", own, size, in_legend(name))
            _line(cached, rounds, "cached_share", own, size, "", times=100)
        waited.set_title("TTFT by round")
        waited.set_ylabel("TTFT (ms); dark: mean, pale: p99")
        waited.set_ylim(bottom=0)
        cached.set_title("Prompt tokens found in prefix caches")
        cached.set_ylabel("cached (%)")
        cached.set_ylim(-2, 102)
        for axes in (waited, cached):
            axes.set_xlabel("round of the session")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = waited.get_legend_handles_labels()
        if any(own["window_requests"] < FEW for entry in arms.values() for own in entry["rounds"]):
            hollow = Line2D([], [], color=NO_ARM, marker="o", markerfacecolor="white", linestyle="")
            handles, labels = [*handles, hollow], [*labels, f"hollow: fewer than {FEW} requests"]
        fig.legend(handles, labels, loc="outside lower center", ncols=legend_columns(labels))


def _line(
    axes: Axes, rounds: list[dict[str, Any]], tag: str, look: Look, size: float, label: str, times: float = 1
) -> None:
    """One figure of an arm, where rounds have it."""
    known = [own for own in rounds if own[tag] is not None]
    at, values = [own["round"] for own in known], [own[tag] * times for own in known]
    drawn: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": size}
    axes.plot(at, values, linestyle=look.dash, label=label or None, **drawn)
    few = [i for i, own in enumerate(known) if own["window_requests"] < FEW]
    axes.plot([at[i] for i in few], [values[i] for i in few], linestyle="", markerfacecolor="white", **drawn)
