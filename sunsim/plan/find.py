"""What a plan finds out about one arm: its smallest pools, what breaks first, its highest rate, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sunsim.plan.bench import Bench, Verdict
from sunsim.plan.conditions import Conditions
from sunsim.plan.load import starts
from sunsim.plan.search import Found, Reason, climb, highest_rate, shrink, smallest, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sunsim.plan.search import Coordinate, Search, Sizes
    from sunsim.points.point import Row
    from sunsim.scenario import Arm, Scenario

CURVE = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Multiples of the planned rate at which every arm's pool is simulated to the end."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The highest multiple of the planned rate that passes and the lowest that fails, as far as found."""

    passes: float | None
    fails: float | None
    reason: Reason
    verdict_passes: Verdict | None
    verdict_fails: Verdict | None


@dataclass(frozen=True, slots=True)
class Less:
    """One GPU less: the verdict, which says what breaks first, and all seeds to the end, which say how badly."""

    verdict: Verdict
    to_the_end: Verdict | None


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """All that was found out about an arm.

    Attributes:
        sizes: the smallest that pass; those of the file where nothing is sized; None where none was found.
        reason: why the search stopped.
        verdict: all models together at these sizes.
        less: for each pool of more than one GPU what happens with one less.
        breaking: verdicts that say otherwise: larger pools that fail.
        rates: None without sizes, as the following.
        curve: rows of the first seed by multiple of the rate.
        variants: other conditions, by what people call them, and what would be needed then.
        log: every verdict, in the order in which they came.
    """

    arm: Arm
    sizes: dict[Coordinate, int] | None
    reason: Reason
    verdict: Verdict | None
    less: dict[Coordinate, Less]
    breaking: list[Verdict]
    log: list[Verdict]
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
        return ArmPlan(arm, None, found.reason, None, {}, [], log)
    sizes = found.sizes
    verdict = yield from bench.judge(sizes)
    if verdict is None:
        return ArmPlan(arm, None, Reason.BUDGET, None, {}, [], log)
    less = yield from _one_less(bench, sizes)
    of_others = [_resized(Bench(scenario, arm, log, conditions), sizes) for conditions in variants.values()]
    further: list[Search[Any]] = [
        _rates(scenario, arm, sizes, log),
        _curve(scenario, arm, sizes),
        _asked([bench.portrait(sizes)]),
        together(of_others if bench.coordinates() else []),
    ]
    rates, curve, portraits, resized = yield from together(further)
    named = zip(variants.items(), resized, strict=False)
    return ArmPlan(
        arm=arm,
        sizes=sizes,
        reason=found.reason,
        verdict=verdict,
        less=less,
        breaking=_breaking(bench, sizes),
        log=log,
        rates=rates,
        curve=curve,
        portrait=portraits[0],
        variants={name: (conditions, one) for (name, conditions), one in named},
    )


def size_pools(scenario: Scenario, bench: Bench) -> Search[Found]:
    """The smallest pools: apart where they can be, then all together."""
    if not bench.coordinates():
        return Found({}, Reason.FOUND)
    first = starts(scenario, bench.arm, bench.coordinates())
    parts = yield from together([_problem(bench, first, model, own) for model, own in bench.problems()])
    for reason in (Reason.BUDGET, Reason.NO_PASS):
        if any(part.sizes is None and part.reason is reason for part in parts):
            return Found(None, reason)
    sizes = {coordinate: size for part in parts for coordinate, size in (part.sizes or {}).items()}
    # Apart, a worker's host stalls at other moments than in the whole, so the whole has the last word.
    whole = yield from climb(sizes, bench.judge, _limits(bench, sizes))
    if whole.sizes is None:
        return whole
    reasons = {part.reason for part in parts}
    reason = next(r for r in (Reason.BUDGET, Reason.FOUND, Reason.NO_FAILURE) if r in reasons)
    if reason is Reason.NO_FAILURE and whole.sizes != sizes:
        reason = Reason.FOUND
    return Found(whole.sizes, reason)


def _problem(bench: Bench, first: Sizes, model: str | None, coordinates: Sequence[Coordinate]) -> Search[Found]:
    """Sizes of pools that depend on one another: each one's least while the others have plenty, then both together."""
    ample = {c: min(bench.most(c), 4 * first[c] + 4) for c in coordinates}

    def least(coordinate: Coordinate) -> Search[tuple[int | None, Reason]]:
        owner = model if coordinate.group == "*" else coordinate.group
        most = bench.most(coordinate)

        def beside(others: Sizes) -> Callable[[int], Search[Verdict | None]]:
            return lambda size: bench.judge({**others, coordinate: size}, owner)

        size, reason = yield from smallest(beside(ample), first[coordinate], most)
        largest = {c: bench.most(c) for c in coordinates}
        if reason is Reason.NO_PASS and largest != ample | {coordinate: most}:
            # What was taken for plenty may have been too few of the others.
            size, reason = yield from smallest(beside(largest), most, most)
        return size, reason

    least_of_all = yield from together([least(coordinate) for coordinate in coordinates])
    low = {c: size for c, (size, _) in zip(coordinates, least_of_all, strict=True) if size is not None}
    if len(low) < len(coordinates):
        return Found(None, next(reason for size, reason in least_of_all if size is None))

    def judge(sizes: Sizes) -> Search[Verdict | None]:
        return bench.judge(sizes, model)

    found = yield from climb(low, judge, _limits(bench, low))
    return (yield from shrink(found, judge))


def _limits(bench: Bench, sizes: Sizes) -> dict[Coordinate, int]:
    return {coordinate: bench.most(coordinate) for coordinate in sizes}


def _one_less(bench: Bench, sizes: Sizes) -> Search[dict[Coordinate, Less]]:
    """What happens with one GPU less in each pool that has more than one."""
    found = {}
    for model, coordinates in bench.problems():
        for coordinate in coordinates:
            if sizes[coordinate] > 1:
                own = {c: sizes[c] for c in coordinates} | {coordinate: sizes[coordinate] - 1}
                verdict = yield from bench.judge(own, model)
                if verdict:
                    found[coordinate] = Less(verdict, (yield from bench.to_the_end(own, model)))
    return found


def _breaking(bench: Bench, sizes: Sizes) -> list[Verdict]:
    """Pools at least as large everywhere that fail all the same."""
    return [
        verdict
        for verdict in bench.verdicts.values()
        if not verdict.passes and all(size >= sizes[c] for c, size in verdict.sizes.items())
    ]


def _rates(scenario: Scenario, arm: Arm, sizes: Sizes, log: list[Verdict]) -> Search[Rates]:
    """The knee: the highest rate that these pools sustain. The gaps between the same requests are scaled."""
    verdicts: dict[float, Verdict] = {}

    def judge(rate: float) -> Search[Verdict | None]:
        verdict = yield from Bench(scenario, arm, log, Conditions(rate=rate)).judge(sizes)
        if verdict:
            verdicts[rate] = verdict
        return verdict

    low, high, reason = yield from highest_rate(judge)
    at = [None if rate is None else verdicts[rate] for rate in (low, high)]
    return Rates(low, high, reason, *at)


def _curve(scenario: Scenario, arm: Arm, sizes: Sizes) -> Search[dict[float, Row]]:
    """The first seed at several rates, to the end even where it fails."""
    benches = [Bench(scenario, arm, [], Conditions(rate=rate)) for rate in CURVE]
    rows = yield [bench.probes(sizes, None, to_the_end=True)[0] for bench in benches]
    return {rate: row for rate, row in zip(CURVE, rows, strict=True) if row is not None}


def _resized(bench: Bench, sizes: Sizes) -> Search[Found]:
    """The smallest pools under other conditions, sought from the plan's on, upwards and then downwards."""
    conditions = bench.conditions
    times = (conditions.rate, conditions.outputs, conditions.decode_time, conditions.prefill_time)
    # What is harder never needs less, so there is nothing to look for below.
    harder = conditions.alpha == 0 and min(times) >= 1
    found = yield from together(
        [
            _moved(bench, model, {c: sizes[c] for c in coordinates}, harder=harder)
            for model, coordinates in bench.problems()
        ]
    )
    if any(part.sizes is None for part in found):
        return next(part for part in found if part.sizes is None)
    reason = Reason.BUDGET if any(part.reason is Reason.BUDGET for part in found) else Reason.FOUND
    return Found({c: size for part in found for c, size in (part.sizes or {}).items()}, reason)


def _moved(bench: Bench, model: str | None, sizes: Sizes, *, harder: bool) -> Search[Found]:
    def judge(sizes: Sizes) -> Search[Verdict | None]:
        return bench.judge(sizes, model)

    found = yield from climb(sizes, judge, _limits(bench, sizes))
    return found if harder else (yield from shrink(found, judge))


def _asked(probes: list[Any]) -> Search[list[Any]]:
    return (yield probes)
