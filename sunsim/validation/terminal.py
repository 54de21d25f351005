"""A validation on a console."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.text import Text

from sunsim.report.terminal import console
from sunsim.report.text_table import filled, show_table
from sunsim.validation.arm_tables import arm_tables
from sunsim.validation.result import verdict
from sunsim.validation.tables import (
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
