"""What drafted tokens change, in sentences; nothing where no arm drafts."""

from __future__ import annotations

from sunsim.report.compare import against
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import number, percent, times

CHANGES = {"mean TPOT": "mean_tpot_ms", "output": "output_throughput_window"}


def drafts(arms: Arms) -> list[str]:
    """One sentence for each arm that drafts: what a step gives, and what that changes against the same arm without drafts."""
    return [_drafting(name, entry, arms) for name, entry in arms.items() if entry.get("num_drafts")]


def _drafting(name: str, entry: Entry, arms: Arms) -> str:
    said = (
        f"{name}: a step with drafts gives a request {number(entry['mean_acceptance_length'])} tokens "
        f"({percent(entry['draft_acceptance_rate'])} of what is drafted is accepted)"
    )
    plain = entry.get("without_drafts")
    if plain is None:
        return f"{said}; no arm is the same without drafts."
    ratios = {what: against(tag, entry, arms[plain]) for what, tag in CHANGES.items()}
    known = [f"{what} is {times(ratio)}" for what, ratio in ratios.items() if ratio is not None]
    return f"{said}; against {plain}, the same without drafts, {' and '.join(known)}." if known else f"{said}."
