"""Output per GPU and time per output token, by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plots.style import MUTED, PALETTE, figure
from sunsim.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

    Arms = Mapping[str, Mapping[str, Any]]

BAR = 0.36


def plot_throughput(arms: Arms, path: Path) -> None:
    """Draw what each arm carries per GPU beside what its users feel; `arms` are the entries of a summary."""
    with figure(path, 1.8 + 0.62 * len(arms)) as fig:
        left, right = fig.subplots(1, 2, sharey=True)
        _per_gpu(left, arms)
        _tpot(right, arms)
        left.set_yticks(range(len(arms)), [f"{visible(name)}\n{_workers(entry)}" for name, entry in arms.items()])
        left.set_ylim(len(arms) - 0.4, -0.6)
        known = {
            label: handle
            for axes in (left, right)
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        fig.legend(known.values(), known.keys(), loc="outside lower center", ncols=4)
        fig.suptitle(visible(_seen(arms)), x=0.01, ha="left", fontsize=10)


def _seen(arms: Arms) -> str:
    """The arm that carries most per decode GPU without being overloaded, against the first."""
    (base_name, base), *others = arms.items()
    tag, tail = "output_throughput_per_decode_gpu", "p99_tpot_ms"
    fit = [(entry[tag], name) for name, entry in others if entry[tag] and not entry["overloaded"]]
    if not fit or not base[tag]:
        return "What each arm carries per GPU, and what its users feel"
    best, name = max(fit)
    text = f"{name} carries {best / base[tag]:.2f}x as much per decode GPU as {base_name}"
    if not arms[name][tail] or not base[tail]:
        return text
    return f"{text}, with p99 TPOT {arms[name][tail]:.1f} ms against {base[tail]:.1f} ms"


def _workers(entry: Mapping[str, Any]) -> str:
    """How many prefill and decode GPUs, in the xPyD notation."""
    prefill, decode = entry["gpus"] - entry["decode_gpus"], entry["decode_gpus"]
    return (
        (f"{prefill}P" if prefill else "")
        + (f"{decode}D" if decode else "")
        + (", overloaded" if entry["overloaded"] else "")
    )


def _per_gpu(axes: Axes, arms: Arms) -> None:
    pairs = (
        ("output_throughput_per_decode_gpu", "per decode GPU", 0),
        ("output_throughput_per_gpu", "per GPU, all", 1),
    )
    base = next(iter(arms.values()))
    for tag, label, i in pairs:
        values = [entry[tag] or 0.0 for entry in arms.values()]
        rows = [row + (i - 0.5) * BAR for row in range(len(arms))]
        axes.barh(rows, values, BAR, color=PALETTE[0] if i == 0 else PALETTE[5], label=label)
        for row, (value, entry) in zip(rows, zip(values, arms.values(), strict=True), strict=True):
            if value:
                times = f"  {value / base[tag]:.2f}x" if entry is not base and base[tag] else ""
                axes.annotate(
                    f"{value:,.0f}{times}", (value, row), (4, 0), textcoords="offset points", va="center", fontsize=9
                )
    axes.margins(x=0.28)
    axes.set_title("Output carried per GPU")
    axes.set_xlabel("output tokens/s per GPU")
    axes.grid(visible=False, axis="y")


def _tpot(axes: Axes, arms: Arms) -> None:
    for row, entry in enumerate(arms.values()):
        middle, tail = entry["median_tpot_ms"], entry["p99_tpot_ms"]
        if middle is None:
            continue
        axes.plot([middle, tail], [row, row], color=MUTED, linewidth=3, solid_capstyle="round", zorder=1)
        axes.plot(middle, row, "o", color=PALETTE[2], markersize=8, label="median")
        axes.plot(tail, row, "D", color=PALETTE[3], markersize=7, label="p99")
        axes.annotate(f"{middle:.1f}, p99 {tail:.1f}", (tail, row), (9, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, 1.45 * max((entry["p99_tpot_ms"] or 0.0 for entry in arms.values()), default=0.0) or 1.0)
    axes.set_title("Time per output token")
    axes.set_xlabel("TPOT (ms)")
    axes.grid(visible=False, axis="y")
