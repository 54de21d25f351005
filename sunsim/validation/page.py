"""A validation as one HTML file that needs nothing else: tables, and figures as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.report.page import render
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
from sunsim.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.validation.arms import Comparison
    from sunsim.validation.floor import Pair
    from sunsim.validation.result import Validated

NOTES = """
Errors are simulated against actual. TPOT = (last - first token) / (output tokens - 1) by the engine's clock; TTFT is
from submission to the client's first token; queueing is first scheduled - queued. Saturated figures are over the
longest stretch in which requests were held back for want of a place or of KV blocks. Intervals: 95 %, from a circular
block bootstrap over requests (over slices of time for rates) that draws both sides together. Arms: output is what is
emitted from the warm-up to the last arrival, over the time between and the decode GPUs; latencies are those of all
requests of all workers.
"""


def page(
    results: Sequence[Validated],
    floor: Sequence[Pair],
    figures: Mapping[str, Sequence[str]],
    comparisons: Sequence[Comparison] = (),
) -> str:
    """The whole document; `figures` has the SVG texts of each run by its name."""
    several = len(results) > 1
    overview = [overview_table(results), steps_table(results)] if several else []
    overview += [floor_table(floor), *(table for comparison in comparisons for table in arm_tables(comparison))]
    runs = [
        {
            "name": result.run.name,
            "texts": [heading(result), f"{subject(result)}. {outside([result])}"],
            "tables": [figures_table(result), steps_table([result])],
            "figures": figures[result.run.name],
        }
        for result in results
    ]
    return render(
        "validation.html.j2",
        title=f"Validation of {len(results)} runs" if several else f"Validation of {results[0].run.name}",
        sentence=verdict(results),
        missed=not all(result.holds for result in results),
        overview=overview,
        runs=runs,
        notes=NOTES,
        version=__version__,
        hashes="; ".join(sorted({f"{result.profile.name} {result.profile.sha256[:12]}" for result in results})),
    )
