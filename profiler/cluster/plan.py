"""Which runs a scenario is, live: every arm of every point of its sweep."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from profiler.cluster.play import Run
from profiler.measure import Subject
from profiler.settings import MOVES_KV, EngineSettings
from profiler.shapes import Variant
from profiler.streams import StreamError
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario, build_requests, checked, load_scenario, read_source, resolved
from sunsim.sweep.grid import load_grid, short_names
from sunsim.validation.cluster_run import AGAIN

OPTIONS = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "num_gpu_blocks")
SAME_AS_PROFILE = (*OPTIONS[:3], "gpu_memory_utilization", "kv_cache_dtype", "tensor_parallel_size")
VARIANTS: tuple[Variant, ...] = get_args(Variant)


def all_runs(
    files: Sequence[Path], overrides: Sequence[str], arms: Sequence[str], again: Sequence[str], gpus: int
) -> list[Run]:
    """The runs of scenarios, point by point, then those named in `again` once more; arms that are missing are left out.

    Raises InputError for a scenario that is wrong, StreamError for one that cannot be run live on so many GPUs.
    """
    runs = [run for file in files for run in _runs_of(file, overrides, arms)]
    if not runs:
        msg = f"--arm {', '.join(arms)}: no scenario has such an arm, must be one of its arms"
        raise StreamError(msg)
    by_name = {run.name: run for run in runs}
    for name in again:
        if name not in by_name:
            msg = f"--again {name}: no such run, must be one of {', '.join(by_name)}"
            raise StreamError(msg)
        runs.append(replace(by_name[name], name=f"{name}{AGAIN}"))
    for run in runs:
        if [each.name for each in runs].count(run.name) > 1:
            msg = f"{run.name}: two runs have this name, must have names of their own, as their files are named after them"
            raise StreamError(msg)
    _same_engines(runs)
    for run in runs:
        if run.gpus > gpus:
            msg = f"--gpus: is {gpus}, must be at least {run.gpus} for {run.name}"
            raise StreamError(msg)
    return runs


def one_worker_run(file: Path) -> Run:
    """The run of a scenario with one arm, of one decode worker and nothing else; raises StreamError for another."""
    runs = all_runs([file], [], [], [], 1)
    if len(runs) > 1 or runs[0].arm.prefill:
        msg = f"{file}: must have one arm, of one decode worker"
        raise StreamError(msg)
    return runs[0]


def subject_of(runs: Sequence[Run], *, gpu_name: str | None = None, quick: bool, log_dir: Path | None) -> Subject:
    """The engine that the runs are played on: that of their profile, with its limits.

    Raises StreamError for a profile of adapters or of several GPUs a worker, and for options that engines are not
    started with.
    """
    profile = next(iter(runs[0].arm.pools().values())).profile
    variant = profile.data.variant
    if variant not in VARIANTS:
        msg = f"profile {profile.name} is of variant {variant}, must be of {', '.join(VARIANTS)} to be run live"
        raise StreamError(msg)
    stated = profile.data.engine_args.model_dump()
    settings = EngineSettings(**{name: stated[name] for name in SAME_AS_PROFILE if name in stated})
    if settings.tensor_parallel_size > 1:
        msg = (
            f"profile {profile.name} is of {settings.tensor_parallel_size} GPUs a worker, must be of one to be run live"
        )
        raise StreamError(msg)
    if any("prefill" in run.arm.pools() for run in runs):
        settings = replace(settings, kv_connector=MOVES_KV)
    settings = replace(settings, enable_prefix_caching=runs[0].requests.sessions is not None)
    for run in runs:
        for stage, pool in run.arm.pools().items():
            for option in OPTIONS:
                # KV blocks are as many as fit; everything else is what engines are started with.
                wanted = getattr(pool, option)
                there = profile.num_gpu_blocks if option == "num_gpu_blocks" else getattr(settings, option)
                if wanted != there:
                    msg = f"{run.name}: {option} of {stage} is {wanted}, must be {there} to be run live"
                    raise StreamError(msg)
    return Subject(
        model=profile.data.model,
        variant=variant,
        gpu_name=gpu_name or profile.data.gpu,
        quick=quick,
        log_dir=log_dir,
        settings=settings,
    )


def _runs_of(file: Path, overrides: Sequence[str], arms: Sequence[str]) -> list[Run]:
    runs = []
    for label, scenario in _points(file, overrides):
        chosen = [arm for arm in scenario.arms if not arms or arm.name in arms]
        requests = build_requests(scenario)
        if requests.concurrency:
            msg = f"{file}: workload.arrivals.kind is closed, must be one with rate_rps to be run live"
            raise StreamError(msg)
        for arm in chosen:
            _check(file, scenario, arm)
            run = Run("-".join([scenario.name, *label, arm.name]), scenario, arm, requests)
            if requests.sessions:
                _check_rounds(file, run)
            runs.append(run)
    return runs


def _points(file: Path, overrides: Sequence[str]) -> list[tuple[list[str], Scenario]]:
    if checked(read_source(file, overrides)).sweep is None:
        return [([], load_scenario(file, overrides))]
    grid = load_grid(file, overrides)
    short = short_names(grid.paths)
    points = []
    for combination in grid.combinations:
        if combination.fault:
            raise combination.fault
        assert combination.scenario
        label = [f"{short[path]}-{value}" for path, value in combination.values.items()]
        for seed in grid.seeds:
            seeded = [*label, f"seed-{seed}"] if len(grid.seeds) > 1 else label
            points.append((seeded, combination.scenario.changed(seed=seed)))
    return points


def _check(file: Path, scenario: Scenario, arm: Arm) -> None:
    if arm.decode is None:
        msg = f"{file}: arm {arm.name} has no decode workers, must have some to be run live"
        raise StreamError(msg)
    if arm.elastic:
        msg = f"{file}: arm {arm.name} grows and shrinks, must have numbers of workers to be run live"
        raise StreamError(msg)
    if arm.block.admission:
        msg = f"{file}: arm {arm.name} has admission, must have none to be run live"
        raise StreamError(msg)
    for stage, pool in arm.pools().items():
        if pool.block.output_lengths:
            msg = f"{file}: router {pool.router} of {stage} knows of output lengths, must be one that does not to be run live"
            raise StreamError(msg)
    if arm.decode.convertible:
        msg = f"{file}: arm {arm.name} has convertible decode workers, must have none to be run live"
        raise StreamError(msg)
    if arm.prefill and scenario.first_token != "decode":
        msg = f"{file}: first_token is {scenario.first_token}, must be decode for arm {arm.name} to be run live"
        raise StreamError(msg)


def _check_rounds(file: Path, run: Run) -> None:
    """Engines keep the KV of one module, know texts by their tokens alone, and tell no router what they have cached."""
    arm, decode = run.arm, run.arm.block.decode
    assert decode
    try:
        _ = run.rounds
    except ValueError as error:
        msg = f"{file}: {error} to be run live"
        raise StreamError(msg) from error
    if len(run.scenario.model_names) > 1 or arm.modules_differ:
        msg = f"{file}: arm {arm.name} has several models or modules, must have one to be run live with sessions"
        raise StreamError(msg)
    for stage in ("prefill", "decode"):
        pool = arm.block.pools().get(Stage(stage))
        if pool is None or not pool.enable_prefix_caching:
            msg = f"{file}: arm {arm.name} has no {stage} with enable_prefix_caching, must have to be run live with sessions"
            raise StreamError(msg)
        if pool.router == "prefix-affinity":
            msg = f"{file}: router of {stage} is prefix-affinity, must be another to be run live"
            raise StreamError(msg)
    if decode.append_prefill == "auto" or decode.history != "rebuild":
        msg = f"{file}: arm {arm.name} has append_prefill auto or history keep, must have neither to be run live"
        raise StreamError(msg)


def _profiles(runs: Sequence[Run]) -> set[str]:
    return {pool.profile_name for run in runs for pool in run.arm.pools().values()}


def _same_engines(runs: Sequence[Run]) -> None:
    if len(found := _profiles(runs)) > 1:
        msg = f"the arms have profiles {', '.join(sorted(found))}, must have one: all are run on the same engines"
        raise StreamError(msg)
    if len({len(run.arm.pools()) for run in runs}) > 1:
        msg = "some arms have prefill workers and some have none, must be the same: choose with --arm"
        raise StreamError(msg)
    if len({run.requests.sessions is None for run in runs}) > 1:
        msg = "some scenarios have sessions and some have none, must be the same: engines cache prefixes or do not"
        raise StreamError(msg)


def run_sha256(run: Run) -> str:
    """Of everything that says what is played: equal hashes are the same run."""
    scenario = run.scenario.with_arms([run.arm])
    return hashlib.sha256(resolved(scenario).encode()).hexdigest()
