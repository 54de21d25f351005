"""From a scenario with a `plan` block to its plan, and the verb `plan`."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sunsim.document.source import Source
from sunsim.errors import InputError, clipped
from sunsim.measured import refuse_empty, window_of
from sunsim.metrics import to_json
from sunsim.metrics.slo import limits_of
from sunsim.plan.cheapest import best_of
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.doubt import doubts, reported_runs
from sunsim.plan.find import plan_arm
from sunsim.plan.knobs import knob_of, resized
from sunsim.plan.lab import Lab
from sunsim.plan.result import PlanResult, document, results
from sunsim.plan.traced import Made, made_for
from sunsim.plan.variants import variants
from sunsim.plan.velocity import velocities
from sunsim.plan.ways import way
from sunsim.points.local import cores
from sunsim.points.store import POINTS, Store
from sunsim.report.accuracy import accuracy_entry, accuracy_files
from sunsim.report.basis import base_models, basis
from sunsim.report.format import count, counted
from sunsim.report.origin import measured_range
from sunsim.report.terminal import say
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario, checked, read_source, resolved
from sunsim.scenario.blocks import Planning
from sunsim.scenario.loading import Given
from sunsim.version import tell_of_slow_loop
from sunsim.workload.blocks import Closed, Synthetic

EXAMPLE = "plan: {attainment: 0.95, seeds: 3}"


def plan(
    file: Path,
    out: Path | None,
    overrides: Sequence[str],
    seed: int | None,
    *,
    jobs: int | None,
    elastic: bool,
    as_json: bool,
    quiet: bool,
) -> bool:
    """`sunsim.plan`, saved in `out` or else in `results/<name>-plan`, and printed; whether every arm passes."""
    order = load(file, overrides, seed, elastic=elastic)
    out = out or Path("results") / f"{order.scenario.name}-plan"
    tell_of_slow_loop(quiet=quiet)
    result = planned(order, out, jobs=jobs, show_progress=not quiet)
    names = [*result.save(out), f"{POINTS}/"]
    if as_json:
        sys.stdout.write(to_json(result.document))
    elif not quiet:
        say([*result.report.blocks, use(out, result)], place=f"{out}/ ({', '.join(names)})")
    return all(arm["passes"] for arm in result.document["arms"].values())


def use(out: Path, result: PlanResult) -> str | None:
    """What can be done with the arms that pass; elastic pools cannot be exported."""
    if not result.arms:
        return None
    arm = best_of({name: result.document["arms"][name] for name in result.arms})
    file = result.arms[arm]
    told = f"Each arm that passes is a scenario of its own, with these pools: `{shlex.join(['sunsim', 'run', str(out / file)])}`."
    if "elastic" in result.document["arms"][arm]:
        return told
    return f"{told} To deploy one: `{shlex.join(['sunsim', 'export', str(out), '--arm', arm, '--to', 'vllm'])}`."


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be planned.

    Attributes:
        scenario: with its plan block.
        command: that makes the plan anew.
        made: the scenario, where it was made for a trace.
    """

    scenario: Scenario
    command: str
    made: Made | None


def planned(order: Order, folder: Path, *, jobs: int | None, show_progress: bool) -> PlanResult:
    """Plans for every arm; simulates what `folder` does not keep yet.

    Raises:
        InputError: the folder cannot be used.
        SimulationError: a simulation failed.
        KeyboardInterrupt: stopped by the user; says how to go on.
    """
    scenario, made = order.scenario, order.made
    assert scenario.plan
    store = Store(results(folder).folder)
    lab = Lab(store, jobs or cores(), scenario.plan.budget)
    drawn = requests_under(scenario, AS_PLANNED)
    lengths = float(drawn.prompt_tokens.mean()), float(drawn.output_tokens.mean())
    of_steps = {
        str(steps): doubts(
            steps,
            {
                pool.measured_as: pool.profile
                for arm in scenario.arms
                for stage, pool in arm.pools().items()
                if steps in stage.steps
            },
            lengths,
        )
        for steps in Stage.COLOCATED.steps
    }
    searches = {arm.name: plan_arm(scenario, arm, variants(scenario, arm, of_steps)) for arm in scenario.arms}
    try:
        found = lab.conduct(searches, show_progress=show_progress)
    except KeyboardInterrupt:
        message = f"interrupted: {count(lab.simulated)} more points are kept, the same command goes on from there"
        raise KeyboardInterrupt(message) from None
    store.tell_damage()
    meta = _meta(_as_found(scenario, found), order.command, lab.asked)
    meta |= {"assumed": made.assumed if made else [], "absent": made.absent if made else []}
    store.inputs.refuse_changed()
    runs, models = reported_runs(scenario.profiles), len(scenario.model_names)
    arms = {
        arm.name: way(arm, models, runs) | {"velocities": velocities(scenario, arm)} | found[arm.name]
        for arm in scenario.arms
    }
    if files := accuracy_files(scenario.arms):
        meta["accuracy"] = files
        for arm in scenario.arms:
            arms[arm.name]["accuracy"] = accuracy_entry(arm)
    content = document(scenario, arms, of_steps, meta)
    return PlanResult(json.loads(to_json(content)), resolved(scenario), made)


def load(given: Given, overrides: Sequence[str], seed: int | None, *, elastic: bool = False) -> Order:
    """A scenario with its `plan` block, or a trace, for which one is made, maybe with `elastic` pools too.

    Raises:
        InputError: something in it is wrong, or it says too little to plan for.
    """
    made = made_for(given, overrides, seed, elastic=elastic)
    source = made.source if made else read_source(given, overrides, seed)
    scenario = checked(source).changed(sweep=None)
    if scenario.plan is None:
        message = f"has no plan block, must have one such as {EXAMPLE}"
        raise InputError(message, source.file)
    for name in scenario.model_names:
        if not {"ttft_ms", "e2el_ms"} & limits_of(scenario.slo.limits, name).keys():
            missing = f"slo.ttft_ms is missing{f' for {clipped(name)}' if scenario.slo.models else ''}"
            message = f"{missing}, must be given to plan, or e2el_ms: without a limit on waiting any pool would do"
            raise source.error(("slo",), message)
    if isinstance(scenario.workload, Synthetic) and isinstance(scenario.workload.arrivals, Closed):
        message = "workload.arrivals.kind is closed, must be one with rate_rps: a plan is made for a rate of requests"
        raise source.error(("workload", "arrivals", "kind"), message)
    for arm in scenario.arms:
        _check_arm(arm, scenario.plan, source)
    drawn = requests_under(scenario, AS_PLANNED)
    refuse_empty(scenario, drawn, source.error)
    if not window_of(scenario, drawn).length_s:
        message = f"all {count(len(drawn))} requests arrive at once, must arrive over some time to plan for their rate"
        raise source.error(("workload",), message)
    return Order(scenario, _command(given, overrides, seed, elastic=elastic), made)


def _check_arm(arm: Arm, plan: Planning, source: Source) -> None:
    """Refuses an arm without a pool to size, which would come out as needing no GPU but those that it has; one without a
    price, which would be free; and one of which not a worker may be tried.
    """
    if plan.size not in {"both", "none", *arm.pools()}:
        why = "is colocated" if arm.colocated else f"has no {plan.size} pool"
        message = f"plan.size is {plan.size}, but arms.{arm.name} {why}: must be both, or the arm left out"
        raise source.error(("plan", "size"), message)
    sized = {stage: pool for stage, pool in arm.pools().items() if plan.size in {"both", stage}}
    if sized and not any(knob_of(pool) if pool.elastic else True for pool in sized.values()):
        message = f"plan.size is {plan.size}, but of arms.{arm.name} a schedule says all sizes"
        raise source.error(("plan", "size"), f"{message}: must be none, or the arm left out")
    for stage, pool in arm.pools().items():
        key, most = plan.most_gpus(stage)
        if plan.size in {"both", stage} and most < pool.profile.gpus:
            message = f"plan.{key} is {most}, must be at least {pool.profile.gpus}"
            raise source.error(("plan", key), f"{message}: a worker of arms.{arm.name}.{stage} has so many")
        if stage in sized and pool.elastic and most < (may := max(pool.roles.values()) * pool.profile.gpus):
            message = f"plan.{key} is {most}, must be at least {may}"
            raise source.error(("plan", key), f"{message}: arms.{arm.name}.{stage}.workers may grow to so many")
        if plan.price_per_gpu_hour is not None and plan.price_of(pool.card) is None:
            message = f"plan.price_per_gpu_hour has no price of {pool.card}, must have one"
            raise source.error(("plan", "price_per_gpu_hour"), f"{message}: arms.{arm.name}.{stage} runs on it")


def check(file: Path, overrides: Sequence[str], seed: int | None) -> str:
    """Says in one line what will be planned.

    Raises:
        InputError: something in it is wrong.
    """
    scenario = load(file, overrides, seed).scenario
    assert scenario.plan
    what = {"both": "all pools", "none": "no pool, only the highest rate"}
    sized = what.get(scenario.plan.size, f"{scenario.plan.size} pools")
    return f"plan: sizes {sized} of {counted(len(scenario.arms), 'arm')}, {counted(scenario.plan.seeds, 'seed')} each"


def _command(given: Given, overrides: Sequence[str], seed: int | None, *, elastic: bool) -> str:
    """What makes the plan anew."""
    parts = ["sunsim", "plan", "scenario" if isinstance(given, Mapping) else str(given)]
    parts += [part for override in overrides for part in ("--set", override)]
    parts += ["--elastic"] if elastic else []
    return shlex.join([*parts, *([] if seed is None else ["--seed", str(seed)])])


def _as_found(scenario: Scenario, found: Mapping[str, Any]) -> Scenario:
    """The scenario with what was found for the policies of its elastic pools."""
    if not any(arm.elastic for arm in scenario.arms):
        return scenario
    pools = {arm.name: found[arm.name]["elastic"]["pools"] if arm.elastic else {} for arm in scenario.arms}
    values = {name: {stage: pool["values"] for stage, pool in own.items()} for name, own in pools.items()}
    return scenario.with_arms([resized(arm, {}, values[arm.name]) for arm in scenario.arms])


def _meta(scenario: Scenario, command: str, simulations: int) -> dict[str, Any]:
    profiles = scenario.profiles
    return {
        "command": command,
        "simulations": simulations,
        "profiles": {name: profile.sha256 for name, profile in profiles.items()},
        "measured_ranges": {name: measured_range(profile) for name, profile in profiles.items()},
        "base_models": base_models(scenario),
        "basis": basis(scenario),
    }
