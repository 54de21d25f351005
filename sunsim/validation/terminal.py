"""A validation on a console."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from sunsim.report.terminal import say
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
    single = len(results) == 1
    headings = [heading(results[0])] if single else []
    tables = [
        figures_table(results[0]) if single else overview_table(results),
        steps_table(results),
        floor_table(floor),
        *(table for comparison in comparisons for table in arm_tables(comparison)),
    ]
    notes = [outside(results), verdict(results), *([f"Files: {place}"] if place else [])]
    say([headings + list(dict.fromkeys(map(subject, results))), *filter(None, tables), notes], file)
