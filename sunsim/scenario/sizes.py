"""What a scenario says of how many workers a stage has, completed and checked: numbers, or bounds and a policy."""

from typing import TypeAlias

from sunsim.document.block import MAX_WORKERS
from sunsim.document.source import Loc, Source, refuse
from sunsim.errors import clipped_list
from sunsim.roles import Stage
from sunsim.scenario.allocation import allocate
from sunsim.scenario.blocks import Document
from sunsim.scenario.named import refuse_unknown
from sunsim.scenario.pools import DecodeBlock, PoolBlock
from sunsim.scenario.scaling import Bounds, Entry, KVUsage, Oracle, Scaling, Schedule, TokenVelocity
from sunsim.scenario.scenario import Scenario
from sunsim.workload.blocks import Closed, Conversations, Trace

Workers: TypeAlias = int | dict[str, int] | Bounds | dict[str, Bounds]

THRESHOLD_S = 1.5
"""Within which prefill is to work off what it has: llm-d's default."""
MOST_DECISIONS = 1_000_000
VELOCITY_TARGETS = {"in-flight": 0.8, "rate": 1.0}
"""llm-d's KV usage, and TokenScale's whole velocity."""


def workers_of(pool: PoolBlock, document: Document, loc: Loc, source: Source) -> Workers:
    """The number of workers of a shared pool, or of each model's own; of an elastic pool `Bounds` in its place.

    Args:
        loc: where the pool's block stands.

    Raises:
        InputError: what is given does not go with the policy or the models, or `allocation` is given in vain.
    """
    names = document.model_names
    given, loc = pool.workers, (*loc, "workers")
    where = source.path(loc)
    isolated_number = pool.policy == "isolated" and isinstance(given, int)
    if pool.allocation is not None and not isolated_number:
        place = (*loc[:-1], "allocation")
        message = f"{source.path(place)} is {pool.allocation}, must be left out"
        raise source.error(place, f"{message}: it spreads a number of workers when policy is isolated")
    if pool.policy == "shared":
        if isinstance(given, int | Bounds):
            return given
        raise source.error(loc, f"{where} is a mapping, must be a number because policy is shared")
    if isinstance(given, int):
        if given < len(names):
            message = (
                f"{where} is {given}, must be at least {len(names)}: policy isolated needs a worker for each model"
            )
            raise source.error(loc, message)
        return allocate(given, names, document.model_shares, pool.allocation or "equal")
    if isinstance(given, Bounds):
        given = dict.fromkeys(names, given)
    for name in given:
        refuse_unknown(name, loc, document, source)
    most = sum(each.max if isinstance(each, Bounds) else each for each in given.values())
    if most > MAX_WORKERS:
        raise source.error(loc, f"{where} adds up to {most}, must be at most {MAX_WORKERS:,} in all")
    missing = [name for name in names if name not in given]
    if missing:
        raise source.error(loc, f"{where} lacks {clipped_list(missing)}, must name every model of the scenario")
    return {name: given[name] for name in names}  # type: ignore[return-value]  # all are of one kind


def scaling_of(
    pool: PoolBlock, stage: Stage, workers: Workers, document: Document, loc: Loc, source: Source
) -> Scaling | None:
    """The policy of an elastic pool with what it leaves out filled in; None of a fixed one.

    Args:
        workers: as completed.
        loc: where the pool's block stands.

    Raises:
        InputError: it does not go with the pool, the stage or the workload.
    """
    given = workers.items() if isinstance(workers, dict) else ((None, workers),)
    bounds: dict[str | None, Bounds] = {model: each for model, each in given if isinstance(each, Bounds)}
    scaling = pool.scaling
    if scaling is None:
        if bounds:
            must = "must be a number, or scaling must say when it changes"
            raise source.error((*loc, "workers"), f"{source.path((*loc, 'workers'))} has min and max, {must}")
        return None
    if not bounds:
        place = (*loc, "scaling")
        message = f"{source.path(place)} is given, must be left out: workers is a number, not {{min, max}}"
        raise source.error(place, message)
    if isinstance(pool, DecodeBlock):
        for key, most in (("append_prefill", "remote"), ("history", "rebuild")):
            if (value := getattr(pool, key)) != most:
                must = f"must be {most}: the pool is elastic, and a worker that has gone has no history"
                raise source.error((*loc, key), f"{source.path((*loc, key))} is {value}, {must}")
    loc = (*loc, "scaling")
    _within(scaling, bounds, loc, source)
    if isinstance(scaling, KVUsage) and stage is Stage.PREFILL:
        refuse("kind", scaling.kind, "must be another: prefill keeps KV only until it is pulled", loc, source)
    _not_too_often(scaling, document, loc, source)
    return _velocity(scaling, stage, loc, source) if isinstance(scaling, TokenVelocity) else scaling


def _within(scaling: Scaling, bounds: dict[str | None, Bounds], loc: Loc, source: Source) -> None:
    """Whether the numbers that a policy names are ones that the stage's pools may have."""
    if scaling.initial is not None:
        for each in bounds.values():
            if not each.min <= scaling.initial <= each.max:
                refuse("initial", scaling.initial, _must(each), loc, source)
    most = max(each.max for each in bounds.values())
    if scaling.warm_workers >= most:
        refuse("warm_workers", scaling.warm_workers, f"must be less than the most workers ({most})", loc, source)
    if not isinstance(scaling, Schedule):
        return
    loc = (*loc, "workers")
    if not isinstance(scaling.workers, dict):
        for each in bounds.values():
            _in_order(scaling.workers, each, scaling.period_s, loc, source)
        return
    if None in bounds or scaling.workers.keys() != bounds.keys():
        must = (
            "must be a list" if None in bounds else "must be a list, or name every model of the scenario and no other"
        )
        raise source.error(loc, f"{source.path(loc)} is a mapping of {clipped_list(list(scaling.workers))}, {must}")
    for model, entries in scaling.workers.items():
        _in_order(entries, bounds[model], scaling.period_s, (*loc, model), source)


def _in_order(entries: tuple[Entry, ...], bounds: Bounds, period_s: float | None, loc: Loc, source: Source) -> None:
    """Whether a schedule begins at 0, goes on in time, and stays within bounds."""
    before_s = -1.0
    for index, (at_s, workers) in enumerate(entries):
        place, what = (*loc, index), f"{source.path(loc)} has {workers} workers from {at_s:g} s"
        if not bounds.min <= workers <= bounds.max:
            raise source.error(place, f"{what}, {_must(bounds)}")
        if at_s <= before_s:
            raise source.error(place, f"{what}, must be later than the entry before ({before_s:g} s)")
        if index == 0 and at_s:
            raise source.error(place, f"{what}, must begin with what holds from 0 s")
        if period_s is not None and at_s >= period_s:
            raise source.error(place, f"{what}, must be before period_s ({period_s:g} s)")
        before_s = at_s


def _must(bounds: Bounds) -> str:
    return f"must be from {bounds.min} to {bounds.max}, as workers has it"


def _not_too_often(scaling: Scaling, document: Document, loc: Loc, source: Source) -> None:
    duration_s = document.workload.duration_s or 0.0
    if duration_s / scaling.interval_s > MOST_DECISIONS:
        must = (
            f"must be at least {duration_s / MOST_DECISIONS:g}: there would be more than {MOST_DECISIONS:,} decisions"
        )
        refuse("interval_s", f"{scaling.interval_s:g}", must, loc, source)


def refuse_oracle(scenario: Scenario, source: Source) -> None:
    """Refuses an oracle where requests wait for others; whether those of a trace do, the trace says.

    Raises:
        InputError: there is one, or the trace is wrong.
    """
    for index, arm in enumerate(scenario.document.arms):
        for stage, pool in arm.pools().items():
            if isinstance(pool.scaling, Oracle) and _some_wait(scenario):
                must = "must be another: when requests come that wait for others is not known beforehand"
                refuse("kind", "oracle", must, ("arms", index, stage, "scaling"), source)


def _some_wait(scenario: Scenario) -> bool:
    workload = scenario.workload
    if isinstance(workload, Trace):
        assert scenario.trace
        rounds = scenario.trace.rows.rounds
        return rounds is not None and not rounds.opens.all()
    return isinstance(workload, Conversations) or isinstance(workload.arrivals, Closed)


def _velocity(scaling: TokenVelocity, stage: Stage, loc: Loc, source: Source) -> TokenVelocity:
    """With the knob, or both, that the stage has under its signal."""
    counts_tokens = scaling.signal == "in-flight" and stage is not Stage.DECODE
    looks_at_target = scaling.signal == "rate" or stage is not Stage.PREFILL
    for key, used in (("threshold_s", counts_tokens), ("target", looks_at_target)):
        value = getattr(scaling, key)
        if value is not None and not used:
            must = f"must be left out: {stage} with signal {scaling.signal} does not look at it"
            refuse(key, value, must, loc, source)
    threshold_s = (scaling.threshold_s or THRESHOLD_S) if counts_tokens else None
    target = (scaling.target or VELOCITY_TARGETS[scaling.signal]) if looks_at_target else None
    return scaling.model_copy(update={"threshold_s": threshold_s, "target": target})
