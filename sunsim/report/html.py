"""Reports as pages that need nothing else: one HTML file, tables and pictures in it."""

import re
from functools import partial
from itertools import count
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sunsim.report.blocks import Report, there
from sunsim.report.text_table import TextTable, is_missed
from sunsim.visible import visible_lines


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
    return made


def _visible(value: Any) -> Any:
    """Text without characters that a reader would not see; what is markup already is ours."""
    return visible_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _inline(svg: str, prefix: str) -> Markup:
    """An SVG file's element, its ids made the page's own: two figures may have the same."""
    element = svg[svg.index("<svg") :]
    return Markup(visible_lines(re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", element)))


def _cell_class(i: int, table: TextTable, cell: str = "") -> str:
    """The CSS classes of a cell in column `i`."""
    return " ".join((["text"] if i < table.left else []) + (["missed"] if is_missed(cell) else []))
