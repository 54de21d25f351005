"""The house style: colours that colour-blind readers can tell apart, sizes for a README, files without dates."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from sunsim.visible import visible

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is faint on white, and a grey.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#757575")
MUTED = "#999999"
NO_ARM = "#555555"
"""In a legend, of what arms have in their own colours."""
MISSES = "#A50026"
"""Of what goes wrong, in any arm; darker than every colour of an arm that is near it."""
MARKERS = "osD^vPX"
DASHES = ("-", "--", "-.", ":")
WIDTH_IN = 9.0
DPI = 150
SVG_DPI = 72
"""Of what a vector figure holds as pixels: many dots, which as vectors would make a page slow."""
LEGIBLE_LETTERS = 120
"""Of a legend, at most, side by side across a figure of `WIDTH_IN`."""

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
    # Text as text: a page finds it, and it is a quarter of its outlines' size.
    "svg.fonttype": "none",
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
    whole = StringIO()
    with mpl.rc_context({"svg.hashsalt": "sunsim"}):
        fig.savefig(whole, format="svg", dpi=SVG_DPI, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg.write(_lean(whole.getvalue()))


def _lean(svg: str) -> str:
    """The same picture without names of groups, which nothing refers to, and indentation, in tenths of a point."""
    svg = re.sub(r'(?<= (?:d|x|y)=")[-\dM][^"]*', lambda places: re.sub(r"(\.\d)\d+", r"\1", places[0]), svg)
    return re.sub(r"\n\s+", "\n", re.sub(r'(?<=<g) id="[^"]*"| transform="rotate\(-0 [^"]*"', "", svg))


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


def legend_columns(labels: Sequence[str], letters: int = LEGIBLE_LETTERS) -> int:
    """Of a legend that fits into a line of so many letters, six of them a label's line."""
    return max(1, min(len(labels), 6, letters // (max(map(len, labels), default=0) + 6)))


def time_unit(length_s: float) -> tuple[str, float]:
    """The unit of a time axis so long, and its seconds."""
    return ("h", 3600.0) if length_s >= 4 * 3600 else ("min", 60.0) if length_s >= 240 else ("s", 1.0)


class Look(NamedTuple):
    """How a line is drawn."""

    colour: str
    marker: str
    dash: str


def mixed(colour: str, share: float) -> tuple[float, float, float]:
    """So much of the colour, and white."""
    red, green, blue = (share * part + (1 - share) for part in to_rgb(colour))
    return (red, green, blue)


def pale(colour: str) -> tuple[float, float, float]:
    """The colour mixed with white: a second thing of the same arm."""
    return mixed(colour, 0.45)


def shades(colour: str, number: int) -> list[tuple[float, float, float]]:
    """So many shades of a colour, dark to pale: several things of the same arm; one is the colour itself."""
    if number == 1:
        return [to_rgb(colour)]
    dark, light = np.array(to_rgb(colour)) * 0.7, np.array(pale(colour))
    mixed = (dark + (light - dark) * i / (number - 1) for i in range(number))
    return [(float(red), float(green), float(blue)) for red, green, blue in mixed]


def ink(colour: Any) -> str:
    """Black or white, whichever can be read better on the colour.

    By contrast as in WCAG 2.2: relative luminances, 0.05 added to both; the better one is always above its 4.5 : 1.
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name, by its place; colours repeat after eight, with other markers and dashes.

    Of arms, give all that the scenario has: then one looks the same in every picture, whatever a picture leaves out.
    """
    return {
        name: Look(PALETTE[i % len(PALETTE)], MARKERS[(i + i // len(PALETTE)) % len(MARKERS)], DASHES[i % len(DASHES)])
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
