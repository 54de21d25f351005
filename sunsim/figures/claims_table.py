"""The claims in short, on a console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.report.text_table import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.figures.claims import Finding


def claims_table(found: Sequence[Finding]) -> TextTable:
    """A row a reading: in how many settings it holds with either convention, and the verdict.

    Where the conventions differ in their verdict, the one with the first token from prefill is told too.
    """
    other = {finding.label: finding.region for finding in found if finding.first_token == "prefill"}
    rows = []
    for finding in found:
        if finding.first_token == "decode":
            own, prefill = finding.region, other[finding.label]
            verdict = own.verdict
            if prefill.verdict != verdict:
                verdict += f"; first token from prefill: {prefill.verdict}"
            holds = (f"{region.held} of {region.settings}" for region in (own, prefill))
            rows.append((finding.label, *holds, verdict))
    return TextTable("", ("claim, as read", "holds in", "first token\nfrom prefill", "verdict"), rows, left=4)
