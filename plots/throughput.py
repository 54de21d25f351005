"""Output per GPU and time per output token, by arm."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plots.style import MUTED, NO_ARM, figure, looks
from sunsim.report.compare import against, worker_pools
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import number
from sunsim.visible import visible

ALL_GPUS, DECODE_GPUS = "output_throughput_per_gpu", "output_throughput_per_decode_gpu"
TPOT: dict[str, dict[str, Any]] = {
    "median": {"marker": "o", "markersize": 8, "label": "median"},
    "p99": {"marker": "D", "markersize": 7, "label": "p99"},
}
BAR = 0.62
FARTHEST = 2.5
"""Times the largest TPOT that a limit is drawn at; one beyond would squeeze what there is to see."""
NAME_LETTERS = 30
ROOM = 2.1
"""Times the longest bar, so that there is place for what is written beside it."""
ROUND = (1, 2, 5, 10)
"""Steps between the numbers of an axis, times a power of ten."""
TPOT_ROOM = 1.6
"""Times the largest TPOT, likewise."""


def plot_throughput(arms: Arms, path: Path, tpot_slo_ms: Sequence[float] = ()) -> None:
    """Draw what each arm carries per GPU, all counted, beside what its users feel.

    `arms` are the entries of a summary; each limit of TPOT is a line.
    """
    with figure(path, 1.8 + 0.62 * len(arms)) as fig:
        left, right = fig.subplots(1, 2, sharey=True, width_ratios=(8, 7))
        _per_gpu(left, arms)
        limit = _tpot(right, arms, tpot_slo_ms)
        left.set_yticks(range(len(arms)), [f"{_wrapped(name)}\n{_workers(entry)}" for name, entry in arms.items()])
        left.set_ylim(len(arms) - 0.4, -0.6)
        marks = [Line2D([], [], color=NO_ARM, linestyle="", **mark) for mark in TPOT.values()]
        fig.legend(handles=[*marks, *limit], loc="outside lower right", ncols=3)
        fig.suptitle(visible(seen(arms)), x=0.01, ha="left", fontsize=10)


def seen(arms: Arms) -> str:
    """The arm that carries most per GPU, all counted, without being overloaded, against the first."""
    (base_name, base), *others = arms.items()
    tail = "p99_tpot_ms"
    ratios = {name: against(ALL_GPUS, entry, base) for name, entry in others if not entry["overloaded"]}
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


def _workers(entry: Entry) -> str:
    """How many prefill and decode GPUs, in the xPyD notation, of an elastic arm in the mean; those that do both are all."""
    prefill, decode = entry["gpus"] - entry["decode_gpus"], entry["decode_gpus"]
    both = "colocated" in worker_pools(entry)
    # What an elastic arm holds in the mean is no whole number.
    prefills, decodes = (number(gpus) if round(gpus % 1, 6) % 1 else f"{gpus:.0f}" for gpus in (prefill, decode))
    return (
        (f"{prefills}P" if prefill else "")
        + (f"{decodes} GPUs" if both else f"{decodes}D" if decode else "")
        + (", overloaded" if entry["overloaded"] else "")
    )


def _per_gpu(axes: Axes, arms: Arms) -> None:
    base, look = next(iter(arms.values())), looks(arms)
    values = [entry[ALL_GPUS] or 0.0 for entry in arms.values()]
    axes.barh(range(len(arms)), values, BAR, color=[look[name].colour for name in arms])
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}
    for row, entry in enumerate(arms.values()):
        if entry[ALL_GPUS]:
            apart = bool(entry[DECODE_GPUS]) and entry["decode_gpus"] < entry["gpus"]
            end = (entry[ALL_GPUS], row)
            axes.annotate(_written(ALL_GPUS, entry, base), end, (4, 6 if apart else 0), weight="bold", **beside)
            if apart:
                axes.annotate(f"per decode GPU {_written(DECODE_GPUS, entry, base)}", end, (4, -6), **beside)
    longest = max(values)
    axes.set_xlim(0, ROOM * longest or 1.0)
    # As far as bars go: a number at the end of the axis would run into the first one of the panel beside it.
    axes.set_xticks(MaxNLocator(4, steps=ROUND).tick_values(0, longest or 1.0))
    axes.set_title("Output per GPU, all GPUs counted")
    axes.set_xlabel("output per GPU (tok/s)")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=False, axis="y")


def _written(tag: str, entry: Entry, base: Entry) -> str:
    """A figure, and its ratio to the first arm's."""
    ratio = None if entry is base else against(tag, entry, base)
    return f"{number(entry[tag])}{'' if ratio is None else f'  {ratio:.2f}x'}"


def _tpot(axes: Axes, arms: Arms, slos_ms: Sequence[float]) -> list[Line2D]:
    """Median and tail of each arm; what stands for the limits in a legend."""
    look = looks(arms)
    highest = max((entry["p99_tpot_ms"] or 0.0 for entry in arms.values()), default=0.0)
    for row, (name, entry) in enumerate(arms.items()):
        middle, tail = entry["median_tpot_ms"], entry["p99_tpot_ms"]
        if middle is None:
            continue
        axes.plot([middle, tail], [row, row], color=MUTED, linewidth=3, solid_capstyle="round", zorder=1)
        for value, mark in ((middle, TPOT["median"]), (tail, TPOT["p99"])):
            axes.plot(value, row, color=look[name].colour, **mark)
        # On white, so that it can be read where a limit runs behind it.
        beside: dict[str, Any] = {"bbox": {"color": "white", "pad": 1}, "textcoords": "offset points"}
        end = (max(middle, tail), row)
        axes.annotate(f"{middle:.1f}, p99 {tail:.1f}", end, (9, 0), va="center", fontsize=9, **beside)
    near = [slo_ms for slo_ms in slos_ms if slo_ms <= FARTHEST * highest]
    axes.set_xlim(0, max([TPOT_ROOM * highest, *(1.05 * slo_ms for slo_ms in near)]) or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_title("Time per output token")
    axes.set_xlabel("TPOT (ms)")
    axes.grid(visible=False, axis="y")
    line: dict[str, Any] = {"color": NO_ARM, "linestyle": ":", "linewidth": 1.6}
    for slo_ms in near:
        axes.axvline(slo_ms, **line, zorder=0.5)
    if not slos_ms:
        return []
    limits = " to ".join(number(slo_ms) for slo_ms in dict.fromkeys((slos_ms[0], slos_ms[-1])))
    return [Line2D([], [], **line, label=f"SLO {limits} ms{'' if near else ', beyond the scale'}")]
