"""A validation on a console."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, TextIO

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sunsim.report.terminal import console
from sunsim.validation.arm_tables import arm_tables
from sunsim.validation.result import verdict
from sunsim.validation.tables import (
    MISSED,
    TextTable,
    figures_table,
    floor_table,
    heading,
    outside,
    overview_table,
    steps_table,
    subject,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.padding import PaddingDimensions

    from sunsim.validation.arms import Comparison
    from sunsim.validation.floor import Pair
    from sunsim.validation.result import Validated


def show(
    results: Sequence[Validated],
    floor: Sequence[Pair],
    comparisons: Sequence[Comparison] = (),
    place: str | None = None,
    file: TextIO | None = None,
) -> None:
    """Print tables, verdict and where files went; the figures of one run, or a row for each of several."""
    target = console(file)
    single = len(results) == 1
    lines = [heading(results[0])] if single else []
    lines += dict.fromkeys(map(subject, results))
    target.print(Text("\n".join(filled(line, target.width) for line in lines)))
    blocks = [
        figures_table(results[0]) if single else overview_table(results),
        steps_table(results),
        floor_table(floor),
        *(table for comparison in comparisons for table in arm_tables(comparison)),
    ]
    for block in blocks:
        if block:
            target.print()
            show_table(block, target)
    target.print()
    target.print(Text(filled(outside(results), target.width)))
    target.print(Text(verdict(results)), soft_wrap=True)
    if place:
        target.print(Text(f"Files: {place}"), soft_wrap=True)


def show_table(block: TextTable, target: Console, *, narrow: bool = False) -> None:
    """Print title and table; a narrow one has less between its columns."""
    if block.title:
        target.print(Text(filled(block.title, target.width)))
    target.print(_table(block, (0, 1, 0, 0) if narrow else (0, 1)))


def filled(line: str, width: int) -> str:
    """Broken into lines of at most `width` characters."""
    return fill(line, width, subsequent_indent="  ")


def _table(block: TextTable, padding: PaddingDimensions) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=padding, show_edge=False, header_style="bold")
    for i, header in enumerate(block.headers):
        table.add_column(header, justify="left" if i < block.left else "right", no_wrap=i > 0, overflow="fold")
    for row in block.rows:
        table.add_row(*(Text(cell, style="red" if cell == MISSED or cell.endswith("!") else "") for cell in row))
    return table
