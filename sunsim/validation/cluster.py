"""The runs of a live cluster beside their simulation, point by point."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from sunsim.clock import to_ps
from sunsim.cluster.simulation import simulate
from sunsim.latency.profile import load_profile
from sunsim.measured import window_of
from sunsim.metrics.rows import Requests, Window
from sunsim.scenario import Arm
from sunsim.scenario.blocks import Transfer
from sunsim.validation.arms import (
    DECODE_THROUGHPUT,
    THROUGHPUT,
    ComparedArm,
    Comparison,
    Routing,
    Side,
    arm_figures,
    compared_arm,
)
from sunsim.validation.cluster_run import ClusterRun
from sunsim.validation.floor import Pair
from sunsim.validation.folders import Cluster
from sunsim.validation.record import check_subject
from sunsim.workload.requests import Requests as Stream


def compared_points(cluster: Cluster) -> list[Comparison]:
    """Simulates every run with the folder's profile; those that repeat another are left to the floor.

    Raises:
        InputError: a run and the profile do not match.
    """
    return [_point(cluster, name, list(runs)) for name, runs in groupby(cluster.runs, key=lambda run: run.point)]


def repeats(cluster: Cluster) -> list[Pair]:
    """Every run that repeats an earlier one, as its workers see it, against that."""
    first: dict[str, ClusterRun] = {}
    found = []
    for run in cluster.runs:
        earlier = first.setdefault(run.same, run)
        if earlier is not run:
            window = _window(run, "planned_s")
            before, after = (Side.of_cluster(Requests.from_rows(each.rows), window, {}) for each in (earlier, run))
            changes = {each.tag: each.error_percent for each in arm_figures((before, after), window, _gpus(run.arm))}
            found.append(Pair(run.meta.stream, earlier.name, run.name, "same host", len(run.rows), changes))
    return found


def simulated_rows(run: ClusterRun, profile: Path, link: Path | None = None) -> pd.DataFrame:
    """The run's arm, simulated with this profile and the run's KV blocks, its requests as they were submitted.

    Args:
        link: measured transfers; None takes the run's scenario's link.

    Raises:
        InputError: the profile is of another card, model or variant.
    """
    check_subject(run.path, run.meta, load_profile(profile))
    update = {"profile": str(profile.resolve()), "num_gpu_blocks": run.meta.num_gpu_blocks}
    pools = {stage: pool.model_copy(update=update) for stage, pool in run.arm.pools().items()}
    arm = run.arm.model_copy(update=pools)
    transfer = Transfer(measured=str(link.resolve())) if link else run.scenario.transfer
    scenario = run.scenario.model_copy(update={"arms": (arm,), "transfer": transfer})
    return simulate(scenario, arm, _stream(run, "arrival_s")).rows


def _point(cluster: Cluster, name: str, runs: Sequence[ClusterRun]) -> Comparison:
    scenario = runs[0].scenario
    window = max((_window(run, "arrival_s") for run in runs), key=lambda window: window.end_s)
    arms = [_arm(cluster, run, window) for run in runs if not run.again]
    return Comparison(name, window, arms, scenario.slo.limits)


def _arm(cluster: Cluster, run: ClusterRun, window: Window) -> ComparedArm:
    assert run.arm.decode
    actual, simulated = (
        Side.of_cluster(Requests.from_rows(rows), window, run.scenario.slo.limits)
        for rows in (run.rows, simulated_rows(run, cluster.profile, cluster.link))
    )
    routing = Routing(run.arm.decode.router, run.meta.staleness_ms, run.meta.submit_lag_ms_p99)
    return compared_arm(run.meta.arm, [run.name], (actual, simulated), window, _gpus(run.arm), routing)


def _gpus(arm: Arm) -> dict[str, int]:
    decode = arm.decode.gpus if arm.decode else 0
    return {DECODE_THROUGHPUT: decode, THROUGHPUT: sum(pool.gpus for pool in arm.pools().values())}


def _window(run: ClusterRun, when: str) -> Window:
    return window_of(run.scenario, _stream(run, when))


def _stream(run: ClusterRun, when: str) -> Stream:
    """The requests, in the order in which they came or were planned, which the column `when` has."""
    rows = run.rows.sort_values(when, kind="stable")
    names = run.scenario.model_names
    index = {name: i for i, name in enumerate(names)}
    return Stream(
        to_ps(rows[when].to_numpy(np.float64)),
        np.array([index[name] for name in rows["model"]], dtype=np.int32),
        rows["prompt_tokens"].to_numpy(np.int32),
        rows["output_tokens"].to_numpy(np.int32),
        names,
    )
