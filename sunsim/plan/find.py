"""What a plan finds out about one arm: its smallest pools, what breaks first, its highest rate, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sunsim.plan.bench import Bench
from sunsim.plan.conditions import Conditions
from sunsim.plan.load import starts
from sunsim.plan.search import Found, Reason, climb, highest_rate, shrink, smallest, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sunsim.plan.search import Search, Sizes
    from sunsim.plan.verdict import Verdict
    from sunsim.points.point import Row
    from sunsim.roles import Role
    from sunsim.scenario import Arm, Scenario

CURVE = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Multiples of the planned rate at which every arm's pool is simulated to the end."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The highest multiple of the planned rate that passes and the lowest that fails, as far as found; why that fails."""

    passes: float | None
    fails: float | None
    reason: Reason
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Less:
    """One GPU less: the verdict, which says what breaks first, and all seeds to the end, which say how badly."""

    verdict: Verdict
    to_the_end: Verdict | None


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """All that was found out about an arm.

    Attributes:
        reason: why the search stopped.
        log: every verdict, in the order in which they came.
        sizes: the smallest that pass; those of the file where nothing is sized; None where none was found.
        verdict: all models together at these sizes; None without, as the following.
        less: for each role of more than one GPU what happens with one less.
        breaking: verdicts that say otherwise: larger pools that fail.
        curve: rows of the first seed by multiple of the rate.
        variants: other conditions, by what people call them, and what would be needed then.
    """

    arm: Arm
    reason: Reason
    log: list[Verdict]
    sizes: Sizes | None = None
    verdict: Verdict | None = None
    less: dict[Role, Less] = field(default_factory=dict)
    breaking: list[Verdict] = field(default_factory=list)
    rates: Rates | None = None
    curve: dict[float, Row] = field(default_factory=dict)
    portrait: Row | None = None
    variants: dict[str, tuple[Conditions, Found]] = field(default_factory=dict)


def plan_arm(scenario: Scenario, arm: Arm, variants: Mapping[str, Conditions]) -> Search[ArmPlan]:
    """Finds out all of it.

    Args:
        scenario: with its plan block.
        variants: conditions to size for as well, by what people call them.
    """
    log: list[Verdict] = []
    bench = Bench(scenario, arm, log)
    found = yield from size_pools(scenario, bench)
    if found.sizes is None:
        return ArmPlan(arm, found.reason, log)
    sizes = found.sizes
    verdict = yield from bench.judge(sizes)
    if verdict is None:
        return ArmPlan(arm, Reason.BUDGET, log)
    less = yield from _one_less(bench, sizes)
    others = variants if bench.roles else {}
    further: list[Search[Any]] = [
        _rates(scenario, arm, sizes, log),
        _curve(scenario, arm, sizes),
        _portrait(bench, sizes),
        *(_resized(Bench(scenario, arm, log, conditions), sizes) for conditions in others.values()),
    ]
    rates, curve, portrait, *resized = yield from together(further)
    return ArmPlan(
        arm,
        found.reason,
        log,
        sizes,
        verdict,
        less,
        breaking=_breaking(bench, sizes),
        rates=rates,
        curve=curve,
        portrait=portrait,
        variants={name: (others[name], one) for name, one in zip(others, resized, strict=True)},
    )


def size_pools(scenario: Scenario, bench: Bench) -> Search[Found]:
    """The smallest pools: apart where they can be, then all together."""
    if not bench.roles:
        return Found({}, Reason.FOUND)
    first = starts(scenario, bench.arm, bench.roles)
    parts = yield from together([_problem(bench, first, model, own) for model, own in bench.problems.items()])
    for reason in (Reason.BUDGET, Reason.NO_PASS):
        if any(part.sizes is None and part.reason is reason for part in parts):
            return Found(None, reason)
    sizes = {role: size for part in parts for role, size in (part.sizes or {}).items()}
    # Apart, a worker's host stalls at other moments than in the whole, so the whole has the last word.
    whole = yield from climb(sizes, bench.judge, bench.most)
    if whole.sizes is None:
        return whole
    reasons = {part.reason for part in parts}
    reason = next(r for r in (Reason.BUDGET, Reason.FOUND, Reason.NO_FAILURE) if r in reasons)
    if reason is Reason.NO_FAILURE and whole.sizes != sizes:
        reason = Reason.FOUND
    return Found(whole.sizes, reason)


def _problem(bench: Bench, first: Sizes, model: str | None, roles: Sequence[Role]) -> Search[Found]:
    """Sizes of pools that depend on one another: each one's least while the others have plenty, then both together."""
    largest = {role: bench.most[role] for role in roles}
    ample = {role: min(most, 4 * first[role] + 4) for role, most in largest.items()}

    def least(role: Role) -> Search[tuple[int | None, Reason]]:
        most = largest[role]

        def beside(others: Sizes) -> Callable[[int], Search[Verdict | None]]:
            return lambda size: bench.judge({**others, role: size}, role.model or model)

        size, reason = yield from smallest(beside(ample), first[role], most)
        if reason is Reason.NO_PASS and largest != ample | {role: most}:
            # What was taken for plenty may have been too few of the others.
            size, reason = yield from smallest(beside(largest), most, most)
        return size, reason

    least_of_all = yield from together([least(role) for role in roles])
    low = {role: size for role, (size, _) in zip(roles, least_of_all, strict=True) if size is not None}
    if len(low) < len(roles):
        return Found(None, next(reason for size, reason in least_of_all if size is None))
    judge = _judge(bench, model)
    found = yield from climb(low, judge, bench.most)
    return (yield from shrink(found, judge))


def _judge(bench: Bench, model: str | None) -> Callable[[Sizes], Search[Verdict | None]]:
    return lambda sizes: bench.judge(sizes, model)


def _one_less(bench: Bench, sizes: Sizes) -> Search[dict[Role, Less]]:
    """What happens with one GPU less in each pool that has more than one."""
    found = {}
    for model, roles in bench.problems.items():
        for role in roles:
            if sizes[role] > 1:
                own = {each: sizes[each] - (each == role) for each in roles}
                verdict = yield from bench.judge(own, model)
                if verdict:
                    found[role] = Less(verdict, (yield from bench.to_the_end(own, model)))
    return found


def _breaking(bench: Bench, sizes: Sizes) -> list[Verdict]:
    """Pools at least as large everywhere that fail all the same."""
    return [
        verdict
        for verdict in bench.verdicts.values()
        if not verdict.passes and all(size >= sizes[role] for role, size in verdict.sizes.items())
    ]


def _rates(scenario: Scenario, arm: Arm, sizes: Sizes, log: list[Verdict]) -> Search[Rates]:
    """The knee: the highest rate that these pools sustain. The gaps between the same requests are scaled."""
    verdicts: dict[float | None, Verdict] = {}

    def judge(rate: float) -> Search[Verdict | None]:
        verdict = yield from Bench(scenario, arm, log, Conditions(rate=rate)).judge(sizes)
        if verdict:
            verdicts[rate] = verdict
        return verdict

    low, high, reason = yield from highest_rate(judge)
    return Rates(low, high, reason, verdicts.get(high))


def _curve(scenario: Scenario, arm: Arm, sizes: Sizes) -> Search[dict[float, Row]]:
    """The first seed at several rates, to the end even where it fails."""
    benches = [Bench(scenario, arm, [], Conditions(rate=rate)) for rate in CURVE]
    rows = yield [bench.probes(sizes, None, to_the_end=True)[0] for bench in benches]
    return {rate: row for rate, row in zip(CURVE, rows, strict=True) if row is not None}


def _portrait(bench: Bench, sizes: Sizes) -> Search[Row | None]:
    rows: list[Row | None] = yield [bench.portrait(sizes)]
    return rows[0]


def _resized(bench: Bench, sizes: Sizes) -> Search[Found]:
    """The smallest pools under other conditions, sought from the plan's on, upwards and then downwards."""
    conditions = bench.conditions
    times = (conditions.rate, conditions.outputs, conditions.decode_time, conditions.prefill_time)
    # What is harder never needs less, so there is nothing to look for below.
    harder = conditions.alpha == 0 and min(times) >= 1

    def moved(model: str | None, own: Sizes) -> Search[Found]:
        judge = _judge(bench, model)
        found = yield from climb(own, judge, bench.most)
        return found if harder else (yield from shrink(found, judge))

    parts = {model: {role: sizes[role] for role in roles} for model, roles in bench.problems.items()}
    found = yield from together([moved(model, own) for model, own in parts.items()])
    for part in found:
        if part.sizes is None:
            return part
    reason = Reason.BUDGET if any(part.reason is Reason.BUDGET for part in found) else Reason.FOUND
    return Found({role: size for part in found for role, size in (part.sizes or {}).items()}, reason)
