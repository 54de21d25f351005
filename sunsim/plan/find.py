"""What a plan finds out about one arm: its smallest pools, what breaks first, its highest rate, and how sure that is."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sunsim.plan.bench import Bench
from sunsim.plan.conditions import Conditions
from sunsim.plan.fastest import hopeless
from sunsim.plan.knobs import Values
from sunsim.plan.load import starts
from sunsim.plan.probe import ALL
from sunsim.plan.search import Found, Reason, Search, Sizes, climb, highest_rate, rise, shrink, smallest, together
from sunsim.plan.variants import TYPICAL
from sunsim.plan.verdict import Verdict, attained, broken, figures_of, point, share
from sunsim.points.outcome import Row
from sunsim.roles import Role, Stage
from sunsim.scenario import Arm, Scenario

Entry = dict[str, Any]

CURVE = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Multiples of the planned rate at which every arm's pool is simulated to the end."""


def plan_arm(scenario: Scenario, arm: Arm, variants: Mapping[str, Conditions]) -> Search[Entry]:
    """Finds out all of it: the arm's entry of `plan.json`.

    Args:
        scenario: with its plan block.
        variants: conditions to size for as well, by what people call them.
    """
    log: list[Verdict] = []
    bench = Bench(scenario, arm, log)
    found = yield from size_pools(bench)
    reason, details = found.reason, {"passes": False}
    if found.sizes is not None:
        if verdict := (yield from bench.judge(found.sizes)):
            details = yield from _details(bench, found.sizes, verdict, variants)
        else:
            reason = Reason.BUDGET
    impossible = not details["passes"] and reason is not Reason.BUDGET
    return {
        "reason": reason,
        "gpus_a_worker": {stage: pool.profile.gpus for stage, pool in arm.pools().items()},
        "gpus": None,
        "points": [point(each, bench.knobs) for each in log],
        "passes": False,
        "hopeless": hopeless(scenario, arm) if impossible else [],
        **({"elastic": {"pools": _policies(bench, {})}} if arm.elastic else {}),
        **details,
    }


def _details(bench: Bench, sizes: Sizes, verdict: Verdict, variants: Mapping[str, Conditions]) -> Search[Entry]:
    """What more is to be said of the smallest pools."""
    less = yield from _one_less(bench, sizes)
    others = {name: bench.under(conditions) for name, conditions in variants.items() if bench.roles}
    further: list[Search[Any]] = [_rates(bench, sizes), _curve(bench, sizes, verdict), _portrait(bench, sizes)]
    further += [_resized(other, sizes) for other in others.values()]
    rates, curve, portrait, *resized = yield from together(further)
    pools, gpus, figures = bench.sized(sizes).pools(), bench.gpus_of(sizes), figures_of(verdict)
    needed = dict(zip(others, resized, strict=True))
    return {
        "passes": verdict.passes,
        "gpus": gpus,
        "workers": {stage: pool.workers for stage, pool in pools.items() if not pool.elastic},
        **({"elastic": _elastic(bench, sizes, verdict)} if bench.arm.elastic else {}),
        "attained": attained(verdict),
        "overloaded": verdict.overloaded,
        "figures": figures,
        "cost": _cost(bench, gpus, figures),
        "one_less": less,
        "not_monotone": [point(each, bench.knobs) for each in _breaking(bench, sizes)],
        "rates": rates,
        "curve": curve,
        "variants": {
            name: {
                "conditions": others[name].conditions.plain(),
                "gpus": None if found.sizes is None else others[name].gpus_of(found.sizes),
                "reason": found.reason,
            }
            for name, found in needed.items()
        },
        "within_error": _more(bench, needed.get(TYPICAL), sizes),
        "portrait": portrait,
    }


def _elastic(bench: Bench, sizes: Sizes, verdict: Verdict) -> Entry:
    """What the elastic pools were given, and what the arm held."""
    return {
        "pools": _policies(bench, bench.values(sizes)),
        **{tag: {stage: held[tag] for stage, held in verdict.held.items()} for tag in ("gpu_hours", "peak_gpus")},
        "gpu_hours_by_seed": [row["held"][ALL]["gpu_hours"] for row in verdict.rows],
    }


def _policies(bench: Bench, values: Mapping[Stage, Values]) -> Entry:
    return {
        stage: {"kind": pool.block.scaling.kind, "values": values.get(stage, {})}
        for stage, pool in bench.arm.pools().items()
        if pool.block.scaling is not None
    }


def _cost(bench: Bench, gpus: Mapping[str, float], figures: Entry) -> Entry | None:
    """Of all its GPUs, each at the price of its card."""
    assert bench.scenario.plan
    output = figures.get("output_throughput_window")
    prices = [(bench.scenario.plan.price_of(pool.card), gpus[stage]) for stage, pool in bench.arm.pools().items()]
    if any(price is None for price, _ in prices):
        return None
    per_hour = sum((price or 0.0) * number for price, number in prices)
    per_million = per_hour / (output["mean"] * 3600) * 1e6 if output and output["mean"] else None
    return {"per_hour": per_hour, "per_million_output_tokens": per_million}


def _more(bench: Bench, found: Found | None, sizes: Sizes) -> bool | None:
    """Whether more or dearer GPUs would be needed; None if that is not known."""
    if found is None or found.reason is Reason.BUDGET:
        return None
    needed = found.sizes
    return needed is None or sum((needed[role] - sizes[role]) * bench.prices[role] for role in bench.roles) > 0


def size_pools(bench: Bench) -> Search[Found]:
    """The smallest pools: apart where they can be, then all together."""
    if not bench.roles:
        return Found({}, Reason.FOUND)
    fixed = [role for role in bench.roles if role not in bench.knobs]
    first = starts(bench.scenario, bench.arm, fixed) | {role: knob.given for role, knob in bench.knobs.items()}
    parts = yield from together([_problem(bench, first, model, own) for model, own in bench.problems.items()])
    for reason in (Reason.BUDGET, Reason.NO_PASS):
        if any(part.sizes is None and part.reason is reason for part in parts):
            return Found(None, reason)
    sizes = {role: size for part in parts for role, size in (part.sizes or {}).items()}
    # Apart, a worker's host stalls at other moments than in the whole, so the whole has the last word.
    whole = yield from climb(sizes, bench.judge, bench.most, bench.prices)
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
    judge = partial(bench.judge, model=model)
    found = yield from _upwards(bench, low, judge)
    return (yield from shrink(found, judge, bench.prices))


def _upwards(bench: Bench, low: Sizes, judge: Callable[[Sizes], Search[Verdict | None]]) -> Search[Found]:
    """Sizes from `low` up that pass: the cheapest. Knobs alone, whose steps are small, are all turned by as much."""
    if low and low.keys() <= bench.knobs.keys():
        return (yield from rise(low, judge, bench.most))
    return (yield from climb(low, judge, bench.most, bench.prices))


def _one_less(bench: Bench, sizes: Sizes) -> Search[list[Entry]]:
    """What breaks first with one worker less in each pool that has more than one, and all seeds to the end say how badly."""
    found = []
    for model, roles in bench.problems.items():
        for role in roles:
            if sizes[role] > 1:
                own = {each: sizes[each] - (each == role) for each in roles}
                verdict = yield from bench.judge(own, model)
                if verdict:
                    to_the_end = yield from bench.to_the_end(own, model)
                    found.append(_less(bench, role, own) | broken(verdict, to_the_end))
    return found


def _less(bench: Bench, role: Role, sizes: Sizes) -> Entry:
    """What is one less of a pool with these sizes; a looser knob has no number of GPUs."""
    each = bench.gpus[role]
    if role in bench.knobs:
        return {"pool": role.stage, "looser": bench.values(sizes)[role.stage], "gpus": None}
    what = f"{role.stage} GPUs" if each == 1 else f"{role.stage} workers of {each} GPUs"
    return {"pool": f"{what} of {role.model}" if role.model else what, "gpus": each}


def _breaking(bench: Bench, sizes: Sizes) -> list[Verdict]:
    """Larger pools that fail all the same, none of them smaller."""
    return [
        verdict
        for verdict in bench.verdicts.values()
        if not verdict.passes
        and verdict.sizes != sizes
        and all(size >= sizes[role] for role, size in verdict.sizes.items())
    ]


def _rates(bench: Bench, sizes: Sizes) -> Search[Entry]:
    """The knee: the highest rate that these pools sustain. The gaps between the same requests are scaled."""
    verdicts: dict[float | None, Verdict] = {}

    def judge(rate: float) -> Search[Verdict | None]:
        verdict = yield from bench.under(Conditions(rate=rate)).judge(sizes)
        if verdict:
            verdicts[rate] = verdict
        return verdict

    low, high, reason = yield from highest_rate(judge)
    fails = verdicts.get(high)
    return {"passes": low, "fails": high, "reason": reason, "breaks": fails and broken(fails)}


def _curve(bench: Bench, sizes: Sizes, verdict: Verdict) -> Search[list[Entry]]:
    """The first seed at several rates, to the end even where it fails; the planned one as judged, if that went so far."""
    judged = verdict.rows[0] if verdict.rows[0]["stopped_s"] is None else None
    others = [rate for rate in CURVE if rate != 1 or judged is None]
    benches = [bench.under(Conditions(rate=rate)) for rate in others]
    rows = yield [each.probes(sizes, None, to_the_end=True)[0] for each in benches]
    found = {1.0: judged, **dict(zip(others, rows, strict=True))}
    return [
        {"rate": rate, "attained": share(row["together"]), **row["figures"]}
        for rate in CURVE
        if (row := found[rate]) is not None
    ]


def _portrait(bench: Bench, sizes: Sizes) -> Search[Row | None]:
    rows: list[Row | None] = yield [bench.portrait(sizes)]
    return rows[0]


def _resized(bench: Bench, sizes: Sizes) -> Search[Found]:
    """The smallest pools under other conditions, sought from the plan's on, upwards and then downwards."""
    conditions = bench.conditions
    times = (conditions.rate, conditions.outputs, conditions.decode_time, conditions.prefill_time)
    # What is harder never needs less, so there is nothing to look for below.
    harder = conditions.alpha == 0 and min(times) >= 1 and conditions.accepted <= 1

    def moved(model: str | None, own: Sizes) -> Search[Found]:
        judge = partial(bench.judge, model=model)
        found = yield from _upwards(bench, own, judge)
        return found if harder else (yield from shrink(found, judge, bench.prices))

    parts = {model: {role: sizes[role] for role in roles} for model, roles in bench.problems.items()}
    found = yield from together([moved(model, own) for model, own in parts.items()])
    for part in found:
        if part.sizes is None:
            return part
    reason = Reason.BUDGET if any(part.reason is Reason.BUDGET for part in found) else Reason.FOUND
    return Found({role: size for part in found for role, size in (part.sizes or {}).items()}, reason)
