"""Folders of records beside their simulation: every run of a campaign and its arms, every point of a live cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sunsim.metrics.rows import Window
from sunsim.validation.arms import DECODE_THROUGHPUT, Comparison, Side, compared_arm
from sunsim.validation.cluster import compared_points, repeats
from sunsim.validation.floor import Pair, pair_of
from sunsim.validation.folders import Campaign, Cluster
from sunsim.validation.targets import Tolerances
from sunsim.validation.worker import Validated, check_run, profile_of
from sunsim.validation.worker_run import ActualRun, read_run


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
class CheckedCluster:
    """A folder of live runs, the arms of its points against their simulation, and the runs that repeat others."""

    cluster: Cluster
    points: list[Comparison]
    repeated: list[Pair]


def check(campaigns: Sequence[Campaign]) -> list[Checked]:
    """Simulates every run of the campaigns.

    Raises:
        InputError: a run, a profile or an arm cannot be used.
    """
    found = []
    for campaign in campaigns:
        results = check_campaign(campaign)
        found.append(Checked(campaign, results, compare_arms(campaign, results)))
    return found


def check_campaign(campaign: Campaign) -> list[Validated]:
    """Every run of a campaign, simulated with the campaign's profile and held to the targets.

    Raises:
        InputError: a run or the profile cannot be used, or the two do not match.
    """
    return [check_at_home(read_run(path), campaign, Tolerances()) for path in campaign.runs.values()]


def check_at_home(run: ActualRun, campaign: Campaign, tolerances: Tolerances) -> Validated:
    """Simulate a campaign's run with the campaign's profile, and compare.

    Raises:
        InputError: as `profile_of` and `check_run`.
    """
    plan, profile = campaign.plan, profile_of(run, str(campaign.profile))
    # Two hosts of one kind say the same of themselves, so that it is another one must be said in the campaign.
    return check_run(run, profile, tolerances, None if plan.profiled_on == plan.host else "other host")


def compare_arms(campaign: Campaign, results: Sequence[Validated]) -> Comparison | None:
    """The campaign's arms; None where it has none.

    Args:
        campaign: says which runs are which arm's workers.
        results: the campaign's runs.

    Raises:
        InputError: arms did not serve the same requests, or one has a worker that does not decode.
    """
    if not campaign.plan.arms:
        return None
    by_name = {result.name: result for result in results}
    parts = {arm: [by_name[worker] for worker in workers] for arm, workers in campaign.plan.arms.items()}
    _check_arms(campaign, parts)
    last_s = max(part.run.served.submissions.end_s for results in parts.values() for part in results)
    window = Window(campaign.plan.warmup_s, last_s)
    if not window.length_s:
        message = f"warmup_s is {window.start_s:g}, must be before the last arrival"
        raise campaign.source.error(("warmup_s",), message)
    arms = []
    for arm, workers in parts.items():
        actual = Side.of_workers([worker.run.served for worker in workers])
        simulated = Side.of_workers([worker.replayed.served for worker in workers])
        names = [worker.name for worker in workers]
        arms.append(compared_arm(arm, names, (actual, simulated), window, {DECODE_THROUGHPUT: len(workers)}))
    return Comparison(campaign.name, window, arms)


def _check_arms(campaign: Campaign, parts: Mapping[str, Sequence[Validated]]) -> None:
    base: tuple[str, list[str]] | None = None
    for arm, results in parts.items():
        for result in results:
            if result.run.meta.prefills_only:
                message = f"arms.{arm}: {result.name} is a prefill run, must be a decode worker's"
                raise campaign.source.error(("arms", arm), message)
        served = sorted(request for result in results for request in result.run.request_ids)
        base = base or (arm, served)
        if served != base[1]:
            message = (
                f"arms.{arm} served {len(served)} requests, which are not the {len(base[1])} of {base[0]}: every arm "
                "must serve the same ones"
            )
            raise campaign.source.error(("arms", arm), message)


def check_cluster(cluster: Cluster) -> CheckedCluster:
    """Simulates every run of a live cluster.

    Raises:
        InputError: a run and the profile do not match.
    """
    return CheckedCluster(cluster, compared_points(cluster), repeats(cluster))
