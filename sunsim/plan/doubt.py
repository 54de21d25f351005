"""How far off the profiles have been seen to be: the errors of the committed actual runs of the same card, model and variant."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from sunsim.validation.folders import committed_campaigns, errors_file

TAGS = {"decode": "mean_tpot_ms", "prefill": "mean_ttft_ms"}
"""What the runs of a stage are judged by. Steps may be wrong by as much; TTFT has queues in it, so prefill's rather less."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Errors of a profile, simulated against actual, in percent, of the reported runs of one stage.

    Attributes:
        tag: the figure that the errors are of.
        errors: of each run, by ``campaign/run``.
    """

    profile: str
    tag: str
    errors: dict[str, float]

    @property
    def typical(self) -> float:
        """Root mean square, percent."""
        return sqrt(sum(error**2 for error in self.errors.values()) / len(self.errors))

    @property
    def too_fast(self) -> float:
        """By how many percent the actual run that was underrated most was slower than its simulation."""
        worst = min(0.0, *self.errors.values()) / 100
        return 100 * (1 / (1 + worst) - 1)


def doubts(stage: str, profiles: Sequence[str]) -> dict[str, Doubt]:
    """Of each profile that reported runs are there of; those of the profile's card, model and variant count.

    Args:
        stage: ``prefill`` or ``decode``.
        profiles: as a loaded scenario names them. Files of a user's own have no runs here.
    """
    found: dict[str, dict[str, float]] = {}
    for campaign in committed_campaigns():
        gpu = campaign.folder.parent.parent.name
        name = f"{gpu}/{campaign.profile.stem}"
        kept = errors_file(gpu)
        if campaign.plan.purpose != "reported" or name not in profiles or not kept.is_file():
            continue
        errors = json.loads(kept.read_text(encoding="utf-8"))
        for run in campaign.plan.runs:
            error = errors.get(f"{campaign.name}/{run}", {}).get(TAGS[stage])
            if error is not None:
                found.setdefault(name, {})[f"{campaign.name}/{run}"] = error
    return {name: Doubt(name, TAGS[stage], errors) for name, errors in sorted(found.items())}
