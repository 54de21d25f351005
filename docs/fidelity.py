"""How far off the simulator is: every run of the campaigns, the floor, other hosts' profiles, arms.

The errors that tests hold the model to come from here, and the tables of documents (`docs.fidelity_tables`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeAlias

from sunsim.validation.arms import DECODE_THROUGHPUT, THROUGHPUT, Comparison
from sunsim.validation.check import CheckedCluster, check_at_home, compare_arms
from sunsim.validation.figures import Compared
from sunsim.validation.floor import Pair, pair_of
from sunsim.validation.folders import Campaign
from sunsim.validation.targets import TARGETED
from sunsim.validation.worker import Validated, check_run, profile_of
from sunsim.validation.worker_run import read_run

Errors: TypeAlias = dict[str, dict[str, float | None]]

ARM_FIGURES = (DECODE_THROUGHPUT, "mean_tpot_ms", "median_tpot_ms")
"""Figures of an arm whose errors are kept; waits below saturation are too short for a percentage."""
CLUSTER_FIGURES = (THROUGHPUT, "mean_tpot_ms", "mean_ttft_ms")
"""The same of a live cluster's arm."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A campaign, each of its runs against its simulation, and its arms if it has any."""

    campaign: Campaign
    results: list[Validated]
    comparison: Comparison | None

    @property
    def streams(self) -> list[Validated]:
        """The first run of each stream: those that repeat one show the floor."""
        first: list[Validated] = []
        for result in self.results:
            if not any(pair_of(earlier.run, result.run) for earlier in first):
                first.append(result)
        return first


@dataclass(frozen=True, slots=True)
class Repeat:
    """One stream run twice: what ran it, the pair, and the labels of the hosts."""

    engine: str
    pair: Pair
    hosts: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A run simulated with another host's profile."""

    result: Validated
    run_host: str
    profile_host: str


def check(campaigns: Sequence[Campaign]) -> list[Checked]:
    """Simulates every run of the campaigns.

    Raises:
        InputError: a run, a profile or an arm cannot be used.
    """
    found = []
    for campaign in campaigns:
        results = [check_at_home(read_run(path), campaign) for path in campaign.runs.values()]
        found.append(Checked(campaign, results, compare_arms(campaign, results)))
    return found


def repeats(checked: Sequence[Checked]) -> list[Repeat]:
    """Every two runs of one stream on one host, then the first runs of a stream that two hosts have run."""
    runs = [(each.campaign.plan.host, result) for each in checked for result in each.results]
    pairs = [(one, other) for one, other in combinations(runs, 2) if one[0] == other[0]]
    across = [((one.plan.host, first), (other.plan.host, second)) for one, first, other, second in _across(checked)]
    return [
        Repeat(first.engine, pair, (host, other_host))
        for (host, first), (other_host, second) in [*pairs, *across]
        if (pair := pair_of(first.run, second.run))
    ]


def foreign(checked: Sequence[Checked]) -> Iterator[Foreign]:
    """Streams that two hosts have run, each host's run simulated with the other campaign's profile.

    Not where that profile is of the run's own host, or is the one that the run was simulated with anyway.
    """
    for one, first, other, second in _across(checked):
        if pair_of(first.run, second.run):
            for result, home, away in ((second, other, one), (first, one, other)):
                if away.plan.profiled_on not in (home.plan.host, home.plan.profiled_on):
                    profile = profile_of(result.run, str(away.profile))
                    # Two hosts of one kind say the same of themselves, so that it is another one must be said here.
                    simulated = check_run(result.run, profile, relation="other host")
                    yield Foreign(simulated, home.plan.host, away.plan.profiled_on)


def errors(checked: Sequence[Checked]) -> Errors:
    """Errors in percent of every figure that a run has a target for, and of the arms, by ``campaign/run``."""
    found: Errors = {}
    for each in checked:
        for result in each.results:
            tags = [figure.tag for figure in result.judged if figure.tag in TARGETED]
            found[f"{each.campaign.name}/{result.name}"] = _errors(result, tags)
        for arm in each.comparison.arms if each.comparison else ():
            found[f"{each.campaign.name}/arm {arm.name}"] = _errors(arm, ARM_FIGURES)
    return found


def cluster_errors(checked: Sequence[CheckedCluster]) -> Errors:
    """Errors in percent of every arm's output and mean latencies, by ``cluster/run``."""
    return {
        f"{each.cluster.name}/{arm.runs[0]}": _errors(arm, CLUSTER_FIGURES)
        for each in checked
        for point in each.points
        for arm in point.arms
    }


def _errors(compared: Compared, tags: Sequence[str]) -> dict[str, float | None]:
    return {tag: compared.error_percent(tag) for tag in tags}


def _across(checked: Sequence[Checked]) -> Iterator[tuple[Campaign, Validated, Campaign, Validated]]:
    """Every two streams of two hosts."""
    for one, other in combinations(checked, 2):
        if one.campaign.plan.host != other.campaign.plan.host:
            for first, second in product(one.streams, other.streams):
                yield one.campaign, first, other.campaign, second
