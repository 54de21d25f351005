"""Output per GPU and time per output token, by arm."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plots.style import MUTED, NO_ARM, figure, looks, pale
from sunsim.report.compare import against, worker_pools
from sunsim.report.format import number
from sunsim.visible import visible

Arms = Mapping[str, Mapping[str, Any]]

PER_GPU: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("output_throughput_per_gpu", "per GPU, all", str),
    ("output_throughput_per_decode_gpu", "per decode GPU", pale),
)
"""Label, and the shade of an arm's colour."""
TPOT: dict[str, dict[str, Any]] = {
    "median": {"marker": "o", "markersize": 8, "label": "median"},
    "p99": {"marker": "D", "markersize": 7, "label": "p99"},
}
BAR = 0.36
NAME_LETTERS = 30


def plot_throughput(arms: Arms, path: Path) -> None:
    """Draw what each arm carries per GPU beside what its users feel; `arms` are the entries of a summary."""
    with figure(path, 1.8 + 0.62 * len(arms)) as fig:
        left, right = fig.subplots(1, 2, sharey=True)
        _per_gpu(left, arms)
        _tpot(right, arms)
        left.set_yticks(range(len(arms)), [f"{_wrapped(name)}\n{_workers(entry)}" for name, entry in arms.items()])
        left.set_ylim(len(arms) - 0.4, -0.6)
        bars = [Patch(color=shade(NO_ARM), label=label) for _, label, shade in PER_GPU]
        marks = [Line2D([], [], color=NO_ARM, linestyle="", **mark) for mark in TPOT.values()]
        fig.legend(handles=[*bars, *marks], loc="outside lower center", ncols=4)
        fig.suptitle(visible(seen(arms)), x=0.01, ha="left", fontsize=10)


def seen(arms: Arms) -> str:
    """The arm that carries most per GPU, all counted, without being overloaded, against the first."""
    (base_name, base), *others = arms.items()
    tail = "p99_tpot_ms"
    ratios = {
        name: against("output_throughput_per_gpu", entry, base) for name, entry in others if not entry["overloaded"]
    }
    known = {name: ratio for name, ratio in ratios.items() if ratio}
    if not known:
        return "What each arm carries per GPU, and what its users feel"
    name = max(known, key=lambda name: known[name])
    text = f"{name} carries {known[name]:.2f}x as much per GPU (all GPUs) as {base_name}"
    if against(tail, arms[name], base) is None:
        return text
    return f"{text}, with p99 TPOT {arms[name][tail]:.1f} ms against {base[tail]:.1f} ms"


def _wrapped(name: str) -> str:
    """A name in lines of so many letters, so that it leaves room for the bars beside it."""
    shown = visible(name)
    return shown if len(shown) <= NAME_LETTERS else "\n".join(textwrap.wrap(shown, NAME_LETTERS))


def _workers(entry: Mapping[str, Any]) -> str:
    """How many prefill and decode GPUs, in the xPyD notation; those that do both are all there are."""
    prefill, decode = entry["gpus"] - entry["decode_gpus"], entry["decode_gpus"]
    both = "colocated" in worker_pools(entry)
    return (
        (f"{prefill}P" if prefill else "")
        + (f"{decode} GPUs" if both else f"{decode}D" if decode else "")
        + (", overloaded" if entry["overloaded"] else "")
    )


def _per_gpu(axes: Axes, arms: Arms) -> None:
    base, look = next(iter(arms.values())), looks(arms)
    for i, (tag, _, shade) in enumerate(PER_GPU):
        values = [entry[tag] or 0.0 for entry in arms.values()]
        rows = [row + (i - 0.5) * BAR for row in range(len(arms))]
        axes.barh(rows, values, BAR, color=[shade(look[name].colour) for name in arms])
        for row, (value, entry) in zip(rows, zip(values, arms.values(), strict=True), strict=True):
            if value:
                ratio = None if entry is base else against(tag, entry, base)
                times = "" if ratio is None else f"  {ratio:.2f}x"
                axes.annotate(
                    f"{number(value)}{times}", (value, row), (4, 0), textcoords="offset points", va="center", fontsize=9
                )
    axes.margins(x=0.28)
    axes.set_title("Output carried per GPU")
    axes.set_xlabel("output tokens/s per GPU")
    axes.grid(visible=False, axis="y")


def _tpot(axes: Axes, arms: Arms) -> None:
    look = looks(arms)
    for row, (name, entry) in enumerate(arms.items()):
        middle, tail = entry["median_tpot_ms"], entry["p99_tpot_ms"]
        if middle is None:
            continue
        axes.plot([middle, tail], [row, row], color=MUTED, linewidth=3, solid_capstyle="round", zorder=1)
        for value, mark in ((middle, TPOT["median"]), (tail, TPOT["p99"])):
            axes.plot(value, row, color=look[name].colour, **mark)
        axes.annotate(f"{middle:.1f}, p99 {tail:.1f}", (tail, row), (9, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, 1.45 * max((entry["p99_tpot_ms"] or 0.0 for entry in arms.values()), default=0.0) or 1.0)
    axes.set_title("Time per output token")
    axes.set_xlabel("TPOT (ms)")
    axes.grid(visible=False, axis="y")
