"""Text, tables and code as GitHub's Markdown has them: what others wrote is shown as they wrote it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sunsim.visible import visible, visible_lines

if TYPE_CHECKING:
    from sunsim.report.text_table import TextTable

_MARKS = re.compile(r"[\\`*\[\]<>|&~$]|(?<![^\W_])_|_(?![^\W_])")
"""What would be read as markup; an underscore within a word is none."""

_AT_THE_START = re.compile(r"^(\d*)([#+=-]|[.)](?=\s|$))")
"""What would make a heading, a list or a rule of a line that it begins; digits cannot be escaped, what follows can."""


def text(sentence: str) -> str:
    """A sentence in one line."""
    return _AT_THE_START.sub(r"\1\\\2", _inline(sentence))


def table(block: TextTable) -> str:
    """The table, its title a line above."""
    headers = [_inline(" ".join(header.split())) for header in block.headers]
    rule = ["---" if i < block.left else "---:" for i in range(len(headers))]
    rows = [[_inline(cell) for cell in (*row, *[""] * (len(headers) - len(row)))] for row in block.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (headers, rule, *rows)]
    title = f"{text(block.title)}\n\n" if block.title else ""
    return f"{title}{chr(10).join(lines)}\n"


def code(content: str, language: str) -> str:
    """A block of code; its fence is longer than any in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", content)), 0)
    return f"{fence}{language}\n{visible_lines(content).rstrip(chr(10))}\n{fence}"


def _inline(content: str) -> str:
    return _MARKS.sub(r"\\\g<0>", visible(content).strip())
