"""Tables of text, made once and shown on a console, as Markdown or on a page."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from textwrap import fill
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.padding import PaddingDimensions

MISSED = "missed"


@dataclass(frozen=True, slots=True)
class TextTable:
    """Title, headers (newlines break them) and rows; the first `left` columns are text, the others numbers."""

    title: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int = 1


def is_missed(cell: str) -> bool:
    """Whether a cell says that something is not as it should be."""
    return cell == MISSED or cell.endswith("!")


def show_table(block: TextTable, target: Console, *, narrow: bool = False) -> None:
    """Print title and table; a narrow one has less between its columns."""
    if block.title:
        target.print(Text(filled(block.title, target.width)))
    target.print(_table(block, (0, 1, 0, 0) if narrow else (0, 1)))


def plain(blocks: Sequence[TextTable | str], width: int) -> str:
    """Tables and paragraphs, one below the other, as text of so many columns; lines end without blanks."""
    printed = StringIO()
    target = Console(file=printed, width=width, highlight=False)
    for i, block in enumerate(blocks):
        if i:
            target.print()
        if isinstance(block, str):
            target.print(Text(filled(block, width)))
        else:
            show_table(block, target, narrow=True)
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())


def filled(line: str, width: int) -> str:
    """Broken into lines of at most `width` characters."""
    return fill(line, width, subsequent_indent="  ")


def markdown(block: TextTable) -> str:
    """The table as GitHub's Markdown has it, its title a line above."""
    headers = [" ".join(header.split()) for header in block.headers]
    rule = ["---" if i < block.left else "---:" for i in range(len(headers))]
    lines = [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in (headers, rule, *block.rows)]
    title = f"{block.title}\n\n" if block.title else ""
    return f"{title}{chr(10).join(lines)}\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _table(block: TextTable, padding: PaddingDimensions) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=padding, show_edge=False, header_style="bold")
    for i, header in enumerate(block.headers):
        table.add_column(header, justify="left" if i < block.left else "right", no_wrap=i > 0, overflow="fold")
    for row in block.rows:
        table.add_row(*(Text(cell, style="red" if is_missed(cell) else "") for cell in row))
    return table
