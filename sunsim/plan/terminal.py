"""A plan on a console, and as Markdown."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any, TextIO

from rich.text import Text

from sunsim.plan.sentences import caveats, heading, verdict
from sunsim.plan.tables import curve, models, overview, points, sensitivity, slos, workers
from sunsim.report.terminal import console
from sunsim.report.text_table import markdown, show_table

if TYPE_CHECKING:
    from collections.abc import Mapping


def show(plan: Mapping[str, Any], place: str | None = None, file: TextIO | None = None) -> None:
    """Print verdict, tables, what to know before believing them, and where files went."""
    target = console(file)
    target.print(Text(heading(plan)), soft_wrap=True)
    target.print()
    for sentence in verdict(plan):
        target.print(Text(fill(sentence, target.width)))
    for table in (overview(plan), sensitivity(plan)):
        if table:
            target.print()
            show_table(table, target, narrow=True)
    target.print()
    for sentence in caveats(plan):
        target.print(Text(fill(sentence, target.width, initial_indent="- ", subsequent_indent="  ")))
    if place:
        target.print(Text(f"Files: {place}"), soft_wrap=True)


def to_markdown(plan: Mapping[str, Any], scenario: str) -> str:
    """The text of `plan.md`; `scenario` is the resolved one."""
    parts = [f"# {plan['scenario']}: capacity plan", heading(plan) + ".", *verdict(plan), markdown(overview(plan))]
    sections = {
        "SLO": slos(plan),
        "Rate": curve(plan),
        "Models": models(plan),
        "Workers": workers(plan),
        "What other conditions would need": sensitivity(plan),
    }
    for title, table in sections.items():
        if table and table.rows:
            parts += [f"## {title}", markdown(table)]
    parts += ["## Before you believe it", "\n".join(f"- {sentence}" for sentence in caveats(plan))]
    parts += ["## Every point", markdown(points(plan))]
    parts += ["## Again", f"```sh\n{plan['command']}\n```", f"```yaml\n{scenario}```"]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
