"""Reports as pages that need nothing else: one HTML file, tables and pictures in it."""

import re
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sunsim.report.blocks import Report, there
from sunsim.report.text_table import TextTable, characters_wide, is_missed
from sunsim.visible import visible_lines

PHONE, PAGE = 40, 112
"""Characters of a table that a phone and a page show side by side.

Of what is wider each row becomes a paragraph on a phone; on a page the type is smaller and long cells are broken.
"""
LONG = 16
"""Characters of a cell of what is wider than a page, from which on it may be broken."""
LEGIBLE_PX = 1.07
"""Of a screen for each point of a figure, so that its text of 10 points is shown with 8 at least."""


def to_html(report: Report) -> str:
    """The whole document; text in the report is escaped."""
    return _environment().get_template("report.html.j2").render(report=report)


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("sunsim.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_visible,
    )
    numbers = count()
    made.filters["there"] = partial(there, picture="svg")
    made.filters["kind"] = lambda block: type(block).__name__
    made.filters["inline"] = lambda svg: _inline(svg, f"f{next(numbers)}-")
    made.filters["cell_class"] = _cell_class
    made.filters["table_class"] = _table_class
    made.filters["one_line"] = lambda header: " ".join(header.split())
    made.filters["part"], made.filters["anchor"] = _parts()
    return made


def _visible(value: Any) -> Any:
    """Text without characters that a reader would not see; what is markup already is ours."""
    return visible_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _parts() -> tuple[Callable[[str], str], Callable[[str], Markup]]:
    """The id that a link to a section of a title leads to, and the attribute of its heading: the first of equal titles."""
    known: dict[str, str] = {}
    placed: set[str] = set()

    def part(title: str) -> str:
        return known.setdefault(title, f"part-{len(known) + 1}")

    def anchor(title: str) -> Markup:
        if title in placed:
            return Markup()
        placed.add(title)
        return Markup(f' id="{part(title)}"')

    return part, anchor


def _inline(svg: str, prefix: str) -> Markup:
    """An SVG file's element, its ids made the page's own: two figures may have the same."""
    # The page says once which letters figures are written in.
    element = svg[svg.index("<svg") :].replace("font-family: 'DejaVu Sans'; ", "")
    width = re.search(r'viewBox="0 0 ([\d.]+) ', element)
    if width:
        element = element.replace("<svg", f'<svg style="min-width: {LEGIBLE_PX * float(width[1]):.0f}px"', 1)
    return Markup(visible_lines(re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", element)))


def _table_class(table: TextTable) -> str:
    """The CSS classes of a table's place."""
    wide = characters_wide(table)
    return "scroll" + (" wide" if wide > PHONE else "") + (" wider" if wide > PAGE else "")


def _cell_class(i: int, table: TextTable, cell: str = "") -> str:
    """The CSS classes of a cell in column `i`."""
    known = {"text": i < table.left, "missed": is_missed(cell), "long": len(cell) > LONG}
    return " ".join(name for name, there in known.items() if there)
