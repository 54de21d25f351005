"""How far off the profiles have been seen to be, on what comes closest to the planned traffic.

That is, in this order: the committed actual runs of the same card, model and variant whose requests were about as long;
of decode steps what a profile's model says of each sweep of its own traffic if it is fitted to the others, so on traffic
of a shape that it has not seen; all actual runs; and of an estimated profile the errors that estimates of measured ones
had.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from math import sqrt
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq

from sunsim.latency.estimated import StepErrors
from sunsim.latency.model import traffic_fit
from sunsim.latency.profile import DRAFTS, Profile
from sunsim.roles import Stage
from sunsim.validation.folders import committed_campaigns, errors_file

TAGS = {"decode": "mean_tpot_ms", "prefill": "mean_ttft_ms"}
"""What steps of a kind are judged by. They may be wrong by as much; TTFT has queues in it, so prefill's rather less."""
Runs = Mapping[str, Mapping[str, float]]
"""Of each reported run, by ``campaign/run``: its errors by figure, percent."""
Lengths = tuple[float, float]
"""Mean tokens of prompts and of outputs."""
ALIKE = 1.5
"""Times that means of tokens may differ of requests that are about as long."""
FEWEST = 3
"""Runs of such requests that tell more than all there are."""


class Seen(StrEnum):
    """What errors were seen in."""

    ALIKE = "runs of requests about as long"
    SWEEPS = "own traffic, each sweep by the others"
    RUNS = "runs of requests of any length"
    ESTIMATES = "estimates of measured profiles"
    NOWHERE = "nothing"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Errors of a profile in one kind of steps, simulated against actual, in percent.

    Attributes:
        tag: the figure that the errors of runs are of.
        errors: of each reported run, by ``campaign/run``.
        left_out: of the time of each sweep of the profile's traffic, fitted to the others.
        estimate: of estimates as this profile is one; None if it was measured.
        alike: the runs whose requests were about as long as those that are planned for.
    """

    profile: str
    tag: str
    errors: Mapping[str, float]
    left_out: Mapping[str, float] = field(default_factory=dict)
    estimate: StepErrors | None = None
    alike: Collection[str] = ()

    @property
    def seen(self) -> Seen:
        """What tells most of the planned traffic; estimates alone tell nothing of what no measured pair changes."""
        if len(self.alike) >= FEWEST:
            return Seen.ALIKE
        if self.left_out:
            return Seen.SWEEPS
        if self.errors:
            return Seen.RUNS
        return Seen.ESTIMATES if self.estimate and self.estimate.typical_percent else Seen.NOWHERE

    @property
    def found(self) -> list[float]:
        """The errors that were seen there; those of estimates are known by their size alone."""
        if self.seen is Seen.ALIKE:
            return [self.errors[run] for run in self.alike]
        return list({Seen.SWEEPS: self.left_out, Seen.RUNS: self.errors}.get(self.seen, {}).values())

    @property
    def mean(self) -> float:
        """Size of the errors, in either direction, percent; 0 of none."""
        if self.seen is Seen.ESTIMATES and self.estimate:
            return self.estimate.typical_percent
        return fmean(map(abs, self.found)) if self.found else 0.0

    @property
    def slower(self) -> float:
        """By how many percent steps may well be slower than simulated: the root mean square.

        Those that were overrated make nothing slower, so they count as 0.
        """
        if self.estimate:
            return self.estimate.typical_percent
        return sqrt(fmean(min(0.0, error) ** 2 for error in self.found)) if self.found else 0.0

    @property
    def slower_at_worst(self) -> float:
        """By how many percent what was underrated most was slower than simulated."""
        if self.estimate:
            return self.estimate.slower_percent
        worst = min((0.0, *self.found)) / 100
        return 100 * (1 / (1 + worst) - 1)


def doubts(steps: str, profiles: Mapping[str, Profile], lengths: Lengths) -> dict[str, Doubt]:
    """Of each profile that has reported runs, those of its card, model and variant; or traffic to judge it by; or is
    estimated.

    Args:
        steps: ``prefill`` or ``decode``; a run of a colocated worker tells of both.
        profiles: by the name that a loaded scenario gives them. Files of a user's own have no runs here.
        lengths: of the requests that are planned for.
    """
    tag, reported = TAGS[steps], reported_runs(profiles)
    counted = 1 if steps == Stage.PREFILL else 2  # outputs make no difference to steps of prompts
    runs = {
        name: {run: errors[tag] for run, errors in reported.get(name, {}).items() if tag in errors} for name in profiles
    }
    sweeps = {name: _of_sweeps(profile) if steps == Stage.DECODE else {} for name, profile in profiles.items()}
    estimates = {name: _of_estimate(steps, profile) for name, profile in profiles.items()}
    return {
        name: Doubt(name, tag, runs[name], sweeps[name], estimates[name], _alike(runs[name], lengths[:counted]))
        for name in sorted(profiles)
        if runs[name] or sweeps[name] or estimates[name]
    }


def _alike(runs: Collection[str], lengths: tuple[float, ...]) -> list[str]:
    """The runs whose requests were about as long."""
    files = {
        f"{campaign.name}/{name}": path for campaign in committed_campaigns() for name, path in campaign.runs.items()
    }
    return [
        run
        for run in runs
        if all(1 / ALIKE <= own / planned <= ALIKE for own, planned in zip(_lengths(files[run]), lengths, strict=False))
    ]


@cache
def _lengths(run: Path) -> Lengths:
    rows = pq.read_table(run, columns=["prompt_tokens", "output_tokens"])
    return fmean(rows["prompt_tokens"].to_pylist()), fmean(rows["output_tokens"].to_pylist())


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
