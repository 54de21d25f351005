"""Steps that the profile was not measured for, in words."""

from collections.abc import Iterator

from sunsim.report.entries import Entry
from sunsim.report.format import listed, percent

REASONS = {
    "batch": "batch size not measured",
    "context": "context of the batch not measured",
    "tokens": "number of prompt tokens not measured",
    "pairs": "longer prompts or more tokens attended to than measured",
    "adapters": "more adapters than measured",
    "drafts": "more drafts than measured",
}
"""What takes a step out of the measured range."""


def outside_steps(entry: Entry, reason: str | None = None) -> Iterator[str]:
    """Of each stage of an arm how many of its steps are outside the measured range, and by what; stages without any are left out.

    Args:
        reason: stages are left out, too, where no step is outside by this.
    """
    for stage, share in entry["outside_measured_share"].items():
        reasons = entry["outside_measured"][stage]
        if share and (reason is None or reason in reasons):
            why = listed([REASONS.get(each, each) for each in sorted(reasons)])
            yield f"{percent(share, 1)} of {stage} steps ({why})"
