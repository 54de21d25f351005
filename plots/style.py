"""The house style: colours that colour-blind readers can tell apart, sizes for a README, files without dates."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from sunsim.visible import visible

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is faint on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MUTED = "#999999"
NO_ARM = "#555555"
"""In a legend, of what arms have in their own colours."""
MARKERS = "osD^vPX"
DASHES = ("-", "--", "-.", ":")
WIDTH_IN = 9.0
DPI = 150

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    # Names are drawn as they are written, whatever $ they have.
    "text.parse_math": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
}


# What would make the same picture differ from one run to the next.
_NO_DATES: dict[str, dict[str, Any]] = {".png": {"Software": None}, ".pdf": {"CreationDate": None}}


@contextmanager
def figure(path: Path, height_in: float, *also: Path) -> Iterator[Figure]:
    """A figure in the house style, written to `path`, and `also` to others, at the end; equal data give equal bytes."""
    with _styled(WIDTH_IN, height_in) as fig:
        yield fig
        _lay_out(fig)
        for each in (path, *also):
            fig.savefig(each, dpi=DPI, metadata=_NO_DATES[each.suffix])


@contextmanager
def vector(svg: StringIO, width_in: float, height_in: float) -> Iterator[Figure]:
    """A figure in the house style, written to `svg` at the end; equal data give equal texts."""
    with _styled(width_in, height_in) as fig:
        yield fig
        write_svg(fig, svg)


def write_svg(fig: Figure, svg: StringIO) -> None:
    """Write a figure as SVG. Without a fixed salt and with a date, equal data would give other bytes."""
    with mpl.rc_context({"svg.hashsalt": "sunsim"}):
        fig.savefig(svg, format="svg", dpi=DPI, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))


@contextmanager
def _styled(width_in: float, height_in: float) -> Iterator[Figure]:
    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE, "backend": "agg"}):
        fig = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
        FigureCanvasAgg(fig)
        yield fig


def _lay_out(fig: Figure) -> None:
    """Finds the layout once for all files; else each would be drawn twice, the first time without a picture."""
    engine = fig.get_layout_engine()
    assert engine
    engine.execute(fig)
    fig.set_layout_engine("none")


def in_legend(name: str) -> str:
    """The label that a legend shows as `name`; it leaves out what begins with an underscore, but not this space."""
    return f"\u200b{visible(name)}" if name.startswith("_") else visible(name)


def entries(panels: Iterable[Axes]) -> dict[str, Artist]:
    """Of a legend for all panels: what stands for each label."""
    return {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}


class Look(NamedTuple):
    """How a line is drawn."""

    colour: str
    marker: str
    dash: str


def pale(colour: str) -> tuple[float, float, float]:
    """The colour mixed with white: a second thing of the same arm."""
    red, green, blue = (0.45 * part + 0.55 for part in to_rgb(colour))
    return (red, green, blue)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name, by its place; colours and markers repeat after seven.

    Of arms, give all that the scenario has: then one looks the same in every picture, whatever a picture leaves out.
    """
    return {
        name: Look(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, name in enumerate(names)
    }


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic x or y axis with plain numbers; few decades have numbers between the powers of ten, too."""
    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(_Between())


class _Between(LogFormatter):
    """Which minor ticks have a number is matplotlib's choice, how it is written is ours."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:,g}" if super().__call__(x, pos) else ""
