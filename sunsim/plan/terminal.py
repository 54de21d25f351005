"""A plan on a console, and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from sunsim.plan.sentences import caveats, heading, verdict
from sunsim.plan.tables import curve, models, overview, points, sensitivity, slos, workers
from sunsim.report import markdown
from sunsim.report.blocks import Bullets
from sunsim.report.terminal import say

if TYPE_CHECKING:
    from collections.abc import Mapping


def show(plan: Mapping[str, Any], place: str | None = None, file: TextIO | None = None) -> None:
    """Print verdict, tables, what to know before believing them, and where files went."""
    tables = [table for table in (overview(plan), sensitivity(plan)) if table]
    say([heading(plan), verdict(plan), *tables, Bullets(caveats(plan))], file, place or "")


def to_markdown(plan: Mapping[str, Any], scenario: str) -> str:
    """The text of `plan.md`; `scenario` is the resolved one."""
    parts = [f"# {markdown.text(plan['scenario'])}: capacity plan", f"{markdown.text(heading(plan))}."]
    parts += [*map(markdown.text, verdict(plan)), markdown.table(overview(plan))]
    sections = {
        "SLO": slos(plan),
        "Rate": curve(plan),
        "Models": models(plan),
        "Workers": workers(plan),
        "What other conditions would need": sensitivity(plan),
    }
    for title, table in sections.items():
        if table and table.rows:
            parts += [f"## {title}", markdown.table(table)]
    parts += ["## Before you believe it", "\n".join(f"- {markdown.text(sentence)}" for sentence in caveats(plan))]
    parts += ["## Every point", markdown.table(points(plan))]
    parts += ["## Again", markdown.code(plan["command"], "sh"), markdown.code(scenario, "yaml")]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
