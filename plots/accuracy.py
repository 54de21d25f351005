"""The accuracy experiment: exact match of every method on every task, and how the tunings went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from plots.style import MUTED, entries, figure, log_axis, looks

Documents = Sequence[Mapping[str, Any]]
"""Accuracy files of the experiment, one a size."""

NONE_TO_ALL = LinearSegmentedColormap.from_list("none to all", ["#FFFFFF", "#7FB8D8"])
"""Half of the palette's first colour at most: numbers are black on all of it."""
ROW_IN, HEAD_IN, CURVE_IN = 0.27, 1.15, 1.75


def plot_accuracy(documents: Documents, path: Path) -> None:
    """Draw a panel a size: a row a method, a column a task, exact match in percent and its interval."""
    rows = max(len(_methods(document)) for document in documents)
    with figure(path, len(documents) * (HEAD_IN + ROW_IN * rows)) as fig:
        panels = fig.subplots(len(documents), 1, squeeze=False)[:, 0]
        for axes, document in zip(panels, documents, strict=True):
            _matrix(axes, document)


def _matrix(axes: Axes, document: Mapping[str, Any]) -> None:
    methods, tasks = _methods(document), document["tasks"]
    cells = {(row["method"], row["task"]): row for row in document["rows"]}
    shares = np.array([[cells[method, task]["exact_match"] for task in tasks] for method in methods])
    axes.imshow(shares, cmap=NONE_TO_ALL, vmin=0, vmax=1, aspect="auto")
    for i, method in enumerate(methods):
        for j, task in enumerate(tasks):
            row = cells[method, task]
            share, low, high = (100 * row[key] for key in ("exact_match", "low", "high"))
            axes.text(j, i, f"{share:.1f} ({low:.1f}\u2013{high:.1f})", ha="center", va="center", size=8.5)
    axes.set_xticks(range(len(tasks)), tasks)
    axes.set_yticks(range(len(methods)), methods)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    seeds = document["seeds"]
    axes.set_title(f"{_name(document)}: exact match (%), {seeds} seed{'s' if seeds != 1 else ''}")


def plot_curves(documents: Documents, path: Path) -> None:
    """Draw the loss on unseen examples while each tuning goes on: a row of panels a size, a column a task."""
    tasks = list(dict.fromkeys(task for document in documents for task in document["tasks"]))
    methods = list(dict.fromkeys(curve["method"] for document in documents for curve in document["curves"]))
    look = looks(methods)
    with figure(path, 0.6 + CURVE_IN * len(documents)) as fig:
        panels = fig.subplots(len(documents), len(tasks), sharex=True, sharey="row", squeeze=False)
        for row, document in zip(panels, documents, strict=True):
            for axes, task in zip(row, tasks, strict=True):
                for curve in document["curves"]:
                    if curve["task"] == task:
                        style = look[curve["method"]]
                        # Not even a loss of 0 is lost on a logarithmic axis.
                        losses = np.maximum(curve["validation_loss"], 1e-6)
                        axes.plot(curve["steps"], losses, style.dash, color=style.colour, label=curve["method"], lw=1.3)
                log_axis(axes, "y")
                axes.tick_params(labelsize=8)
            row[0].set_ylabel(f"{_name(document)}\nvalidation loss", fontsize=9)
        for axes, task in zip(panels[0], tasks, strict=True):
            axes.set_title(task, fontsize=9)
        for axes in panels[-1]:
            axes.set_xlabel("step", fontsize=9, color=MUTED)
        known = entries(panels.flat)
        fig.legend(known.values(), known.keys(), loc="outside lower center", ncols=len(known) or 1)


def _methods(document: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in document["rows"]))


def _name(document: Mapping[str, Any]) -> str:
    return f"{document['parameters'] / 1e6:.0f} M parameters"
