"""What drafted tokens change, in sentences; nothing where no arm drafts."""

from __future__ import annotations

from sunsim.report.compare import against
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import listed, number, percent, times
from sunsim.report.outside import outside_steps

CHANGES = {"mean TPOT": "mean_tpot_ms", "output": "output_throughput_window"}


def drafts(arms: Arms) -> list[str]:
    """One sentence for each arm that drafts: what a step gives, what that changes against the same arm without drafts, and how
    many of the steps have more drafts than were measured.
    """
    return [_drafting(name, entry, arms) for name, entry in arms.items() if entry.get("num_drafts")]


def _drafting(name: str, entry: Entry, arms: Arms) -> str:
    said = (
        f"{name}: a step with drafts gives a request {number(entry['mean_acceptance_length'])} tokens "
        f"({percent(entry['draft_acceptance_rate'])} of what is drafted is accepted)"
    )
    beyond = list(outside_steps(entry, "drafts"))
    parts = [said, *_changes(entry, arms)]
    parts += [f"these speeds are extrapolated: outside the measured range are {listed(beyond)}"] if beyond else []
    return f"{'; '.join(parts)}."


def _changes(entry: Entry, arms: Arms) -> list[str]:
    plain = entry.get("without_drafts")
    if plain is None:
        return ["no arm is the same without drafts"]
    ratios = {what: against(tag, entry, arms[plain]) for what, tag in CHANGES.items()}
    known = [f"{what} is {times(ratio)}" for what, ratio in ratios.items() if ratio is not None]
    return [f"against {plain}, the same without drafts, {' and '.join(known)}"] if known else []
