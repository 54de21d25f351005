"""The claims in short, on a console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sunsim.report.terminal import console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from sunsim.figures.claims import Finding


def show(found: Sequence[Finding], file: TextIO | None = None) -> None:
    """Prints a row a reading: in how many settings it holds with either convention, and the verdict.

    Where the conventions differ in their verdict, the one with the first token from prefill is told too.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for header in ("claim, as read", "holds in", "first token\nfrom prefill", "verdict"):
        table.add_column(Text(header), vertical="top", justify="left")
    other = {finding.label: finding.region for finding in found if finding.first_token == "prefill"}
    for finding in found:
        if finding.first_token == "decode":
            own, prefill = finding.region, other[finding.label]
            verdict = own.verdict
            if prefill.verdict != verdict:
                verdict += f"; first token from prefill: {prefill.verdict}"
            holds = (f"{region.held} of {region.settings}" for region in (own, prefill))
            table.add_row(Text(finding.label), *map(Text, holds), Text(verdict))
    target = console(file)
    target.print(table)
    target.print()
