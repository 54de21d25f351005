"""How far off the profiles have been seen to be.

By the errors of the committed actual runs of the same card, model and variant; and, of decode steps, by what a profile's
model says of each sweep of its own traffic if it is fitted to the others. Of an estimated profile, by the errors that
estimates of measured ones had.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean

from sunsim.latency.estimated import StepErrors
from sunsim.latency.model import traffic_fit
from sunsim.latency.profile import DRAFTS, Profile
from sunsim.roles import Stage
from sunsim.validation.folders import committed_campaigns, errors_file

TAGS = {"decode": "mean_tpot_ms", "prefill": "mean_ttft_ms"}
"""What steps of a kind are judged by. They may be wrong by as much; TTFT has queues in it, so prefill's rather less."""
Runs = Mapping[str, Mapping[str, float]]
"""Of each reported run, by ``campaign/run``: its errors by figure, percent."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Errors of a profile in one kind of steps, simulated against actual, in percent.

    Attributes:
        tag: the figure that the errors of runs are of.
        errors: of each reported run, by ``campaign/run``.
        left_out: of the time of each sweep of the profile's traffic, fitted to the others.
        estimate: of estimates as this profile is one; None if it was measured.
    """

    profile: str
    tag: str
    errors: Mapping[str, float]
    left_out: Mapping[str, float] = field(default_factory=dict)
    estimate: StepErrors | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything tells of errors: not of an estimate alone that changes what no measured pair does."""
        return bool(self.errors or self.left_out or (self.estimate and self.estimate.typical_percent))

    @property
    def typical(self) -> float:
        """Of runs: root mean square, percent; 0 without any."""
        return sqrt(fmean(error**2 for error in self.errors.values())) if self.errors else 0.0

    @property
    def too_fast(self) -> float:
        """By how many percent the actual run that was underrated most was slower than its simulation."""
        return _too_fast(self.errors)

    @property
    def left_out_mean(self) -> float:
        """Of sweeps, in either direction, percent; 0 without any."""
        return fmean(map(abs, self.left_out.values())) if self.left_out else 0.0

    @property
    def left_out_largest(self) -> float:
        """Of sweeps, in either direction, percent; 0 without any."""
        return max(map(abs, self.left_out.values()), default=0.0)

    @property
    def slower(self) -> float:
        """By how many percent steps may well be slower than simulated: the largest, of runs, sweeps and estimates.

        Those that were overrated make nothing slower, so they count as 0.
        """
        runs, sweeps = ([max(0.0, -error) for error in of.values()] or [0.0] for of in (self.errors, self.left_out))
        of_runs = sqrt(fmean(short**2 for short in runs))
        return max(of_runs, fmean(sweeps), self.estimate.typical_percent if self.estimate else 0.0)

    @property
    def slower_at_worst(self) -> float:
        """By how many percent what was underrated most was slower, a run, a sweep or steps of an estimate."""
        return max(self.too_fast, _too_fast(self.left_out), self.estimate.slower_percent if self.estimate else 0.0)


def _too_fast(errors: Mapping[str, float]) -> float:
    worst = min((0.0, *errors.values())) / 100
    return 100 * (1 / (1 + worst) - 1)


def doubts(steps: str, profiles: Mapping[str, Profile]) -> dict[str, Doubt]:
    """Of each profile that has reported runs, those of its card, model and variant; or traffic to judge it by; or is
    estimated.

    Args:
        steps: ``prefill`` or ``decode``; a run of a colocated worker tells of both.
        profiles: by the name that a loaded scenario gives them. Files of a user's own have no runs here.
    """
    tag, reported = TAGS[steps], reported_runs(profiles)
    runs = {
        name: {run: errors[tag] for run, errors in reported.get(name, {}).items() if tag in errors} for name in profiles
    }
    sweeps = {name: _of_sweeps(profile) if steps == Stage.DECODE else {} for name, profile in profiles.items()}
    estimates = {name: _of_estimate(steps, profile) for name, profile in profiles.items()}
    return {
        name: Doubt(name, tag, runs[name], sweeps[name], estimates[name])
        for name in sorted(profiles)
        if runs[name] or sweeps[name] or estimates[name]
    }


def _of_estimate(steps: str, profile: Profile) -> StepErrors | None:
    made = profile.data.estimated
    if made is None:
        return None
    return made.prefill if steps == Stage.PREFILL else made.decode


def _of_sweeps(profile: Profile) -> dict[str, float]:
    """None of an estimate, whose traffic was scaled."""
    traffic = None if profile.data.estimated else traffic_fit(profile)
    return {each.sweep: 100 * each.error for each in traffic.left_out} if traffic else {}


def reported_runs(profiles: Collection[str]) -> Mapping[str, Runs]:
    """The reported runs of profiles, by their names; those that have none are left out."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for campaign in committed_campaigns():
        gpu = campaign.folder.parent.parent.name
        stem = campaign.profile.stem
        name = next((each for each in (f"{gpu}/{stem}", f"{gpu}/{DRAFTS}/{stem}") if each in profiles), "")
        kept = errors_file(gpu)
        if campaign.plan.purpose != "reported" or not name or not kept.is_file():
            continue
        errors = json.loads(kept.read_text(encoding="utf-8"))
        for run in campaign.plan.runs:
            of_run = errors.get(f"{campaign.name}/{run}", {})
            judged = {tag: of_run[tag] for tag in TAGS.values() if of_run.get(tag) is not None}
            if judged:
                found.setdefault(name, {})[f"{campaign.name}/{run}"] = judged
    return found
