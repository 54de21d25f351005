"""Folders of records beside their simulation: every run of a campaign and its arms, every point of a live cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas as pd

from sunsim.clock import to_ps
from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import window_of
from sunsim.metrics.rows import Requests, Window
from sunsim.metrics.slo import limits_each
from sunsim.scenario import Transfer
from sunsim.validation.arms import (
    DECODE_THROUGHPUT,
    THROUGHPUT,
    ComparedArm,
    Comparison,
    Side,
    arm_figures,
    compared_arm,
    compared_rounds,
)
from sunsim.validation.cluster_run import ClusterRun
from sunsim.validation.floor import Pair
from sunsim.validation.folders import Campaign, Cluster
from sunsim.validation.record import check_subject
from sunsim.validation.targets import TARGETS_ALONE, Tolerances
from sunsim.validation.worker import Validated, check_run, profile_of
from sunsim.validation.worker_run import ActualRun
from sunsim.workload.requests import Requests as Stream


@dataclass(frozen=True, slots=True)
class CheckedCluster:
    """A folder of live runs, the arms of its points against their simulation, and the runs that repeat others."""

    cluster: Cluster
    points: list[Comparison]
    repeated: list[Pair]


def check_at_home(run: ActualRun, campaign: Campaign, tolerances: Tolerances = TARGETS_ALONE) -> Validated:
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
        gpus = sum(worker.profile.gpus for worker in workers)
        arms.append(compared_arm(arm, names, (actual, simulated), window, {DECODE_THROUGHPUT: gpus}))
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
    """Simulates every run of a live cluster with its folder's profile; those that repeat another are but for the floor.

    Raises:
        InputError: a run and the profile do not match.
    """
    points = [_point(cluster, name, list(runs)) for name, runs in groupby(cluster.runs, key=lambda run: run.point)]
    return CheckedCluster(cluster, points, _repeats(cluster.runs))


def _point(cluster: Cluster, name: str, runs: Sequence[ClusterRun]) -> Comparison:
    scenario = runs[0].scenario
    window = max((_window(run, "arrival_s") for run in runs), key=lambda window: window.end_s)
    arms = [_arm(cluster, run, window) for run in runs if not run.again]
    return Comparison(name, window, arms, scenario.slo.limits)


def _arm(cluster: Cluster, run: ClusterRun, window: Window) -> ComparedArm:
    both = run.rows, _simulated(cluster, run)
    actual, simulated = (
        Side.of_cluster(Requests.from_rows(rows), window, limits_each(run.scenario.slo.limits, rows["model"]))
        for rows in both
    )
    arm = compared_arm(run.meta.arm, [run.name], (actual, simulated), window, _gpus(run), run)
    return replace(arm, rounds=compared_rounds(*both, window)) if run.sessions else arm


def _gpus(run: ClusterRun) -> dict[str, int]:
    return {DECODE_THROUGHPUT: run.decode.gpus, THROUGHPUT: run.arm.gpus}


def _simulated(cluster: Cluster, run: ClusterRun) -> pd.DataFrame:
    """The rows of the run's arm with the folder's profile and link and the run's KV blocks, its requests as submitted."""
    update = {"profile": str(cluster.profile.resolve()), "num_gpu_blocks": run.meta.num_gpu_blocks}
    pools = {str(stage): pool.model_copy(update=update) for stage, pool in run.arm.block.pools().items()}
    transfer = Transfer(measured=str(cluster.link.resolve())) if cluster.link else run.scenario.transfer
    scenario = run.scenario.changed(arms=(run.arm.block.model_copy(update=pools),), transfer=transfer)
    (arm,) = scenario.arms
    for pool in arm.pools().values():
        check_subject(run.path, run.meta, pool.profile)
    return simulate_arm(scenario, arm, _stream(run, "arrival_s")).rows


def _repeats(runs: Sequence[ClusterRun]) -> list[Pair]:
    """Every run that repeats an earlier one, as its workers see it, against that."""
    first: dict[str, ClusterRun] = {}
    found = []
    for run in runs:
        earlier = first.setdefault(run.same, run)
        if earlier is not run:
            window = _window(run, "planned_s")
            before, after = (Side.of_cluster(Requests.from_rows(each.rows), window, {}) for each in (earlier, run))
            changes = {each.tag: each.error_percent for each in arm_figures((before, after), window, _gpus(run))}
            found.append(Pair(run.meta.stream, earlier.name, run.name, "same host", len(run.rows), changes))
    return found


def _window(run: ClusterRun, when: str) -> Window:
    return window_of(run.scenario, _stream(run, when))


def _stream(run: ClusterRun, when: str) -> Stream:
    """The requests, in the order in which they came or were planned, which the column `when` has; rounds as they stand."""
    rows = run.rows.assign(begins_s=run.begins_s(when))
    if run.sessions is None:
        rows = rows.sort_values("begins_s", kind="stable")
    names = run.scenario.model_names
    return Stream(
        to_ps(rows["begins_s"].to_numpy(np.float64)),
        pd.Categorical(rows["model"], names).codes.astype(np.int32),
        rows["prompt_tokens"].to_numpy(np.int32),
        rows["output_tokens"].to_numpy(np.int32),
        names,
        sessions=run.sessions,
    )
