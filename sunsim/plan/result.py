"""A plan as data: the content of `plan.json`, from which every text, table and figure is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.measured import arriving_s, window_of
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.fastest import hopeless
from sunsim.plan.search import Reason
from sunsim.plan.variants import TYPICAL
from sunsim.plan.windows import Stretches
from sunsim.sweep.estimates import estimate
from sunsim.version import __version__
from sunsim.workload.blocks import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.plan.bench import Verdict
    from sunsim.plan.doubt import Doubt
    from sunsim.plan.find import ArmPlan, Rates
    from sunsim.plan.search import Sizes
    from sunsim.scenario import Scenario

    Entry = dict[str, Any]

SCHEMA_VERSION = 1


def document(
    scenario: Scenario,
    plans: Sequence[ArmPlan],
    doubts: Mapping[str, Mapping[str, Doubt]],
    meta: Mapping[str, Any],
) -> Entry:
    """All of a plan.

    Args:
        scenario: with its plan block.
        plans: of the arms, in the order of the scenario.
        doubts: by stage and profile.
        meta: where it came from: command, basis, hashes, number of simulations.
    """
    assert scenario.plan
    plan, drawn = scenario.plan, requests_under(scenario, AS_PLANNED)
    stretches = Stretches.of(scenario)
    window = window_of(scenario, drawn)
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "scenario": scenario.name,
        "seeds": [scenario.seed + i for i in range(plan.seeds)],
        "attainment": plan.attainment,
        "require": plan.require,
        "worst_window": {"length_s": stretches.length_s, "fewest_requests": stretches.fewest},
        "slo": scenario.slo.limits,
        "size": plan.size,
        "price_per_gpu_hour": plan.price_per_gpu_hour,
        "models": list(scenario.model_names),
        "trace": isinstance(scenario.workload, Trace),
        "requests": len(drawn),
        "rate_rps": len(drawn) / arriving_s(scenario, drawn),
        "window": {"start_s": window.start_s, "end_s": window.end_s, "too_short": _too_short(plans)},
        "arms": {one.arm.name: _arm(scenario, one) for one in plans},
        "profile_errors": [
            {
                "profile": doubt.profile,
                "stage": stage,
                "figure": doubt.tag,
                "runs": len(doubt.errors),
                "typical_percent": doubt.typical,
                "too_fast_percent": doubt.too_fast,
            }
            for stage, of_profile in doubts.items()
            for doubt in of_profile.values()
        ],
        **meta,
    }


def _too_short(plans: Sequence[ArmPlan]) -> bool:
    """Whether a request of some arm takes longer than the window."""
    return any(one.portrait["window_too_short"] for one in plans if one.portrait)


def _arm(scenario: Scenario, one: ArmPlan) -> Entry:
    entry: Entry = {
        "reason": one.reason.value,
        "stages": list(one.arm.pools()),
        "gpus": None,
        "points": [_point(verdict) for verdict in one.log],
    }
    if one.sizes is None or one.verdict is None:
        no_pass = one.reason is Reason.NO_PASS
        return entry | {"passes": False, "hopeless": hopeless(scenario, one.arm) if no_pass else []}
    gpus = gpus_of(one, one.sizes)
    return entry | {
        "passes": one.verdict.passes,
        "hopeless": [] if one.verdict.passes else hopeless(scenario, one.arm),
        "gpus": gpus,
        "workers": _workers(one),
        "attained": _attained(scenario, one.verdict),
        "overloaded": one.verdict.overloaded,
        "figures": _figures(one.verdict),
        "cost": _cost(scenario, gpus["all"], one.verdict),
        "one_less": [{"pool": str(pool)} | _broken(less.verdict, less.to_the_end) for pool, less in one.less.items()],
        "not_monotone": [_point(verdict) for verdict in one.breaking],
        "rates": None if one.rates is None else _rates(one.rates),
        "curve": [{"rate": rate} | _curve_point(row) for rate, row in one.curve.items()],
        "variants": {
            name: {
                "conditions": conditions.plain(),
                "gpus": None if found.sizes is None else gpus_of(one, found.sizes),
                "reason": found.reason.value,
            }
            for name, (conditions, found) in one.variants.items()
        },
        "within_error": _within_error(one),
        "portrait": one.portrait,
    }


def gpus_of(one: ArmPlan, sizes: Sizes) -> dict[str, int]:
    """GPUs of each stage that the arm has, and of all; a stage that is not sized has those of the file."""
    found = {}
    for stage, pool in one.arm.pools().items():
        own = [size for coordinate, size in sizes.items() if coordinate.stage == stage]
        given = pool.gpus
        found[stage] = sum(own) if own else given
    return found | {"all": sum(found.values())}


def _workers(one: ArmPlan) -> Entry:
    """Workers of each stage as a scenario has them."""
    found: Entry = {}
    for stage, pool in one.arm.pools().items():
        own = {c.group: size for c, size in (one.sizes or {}).items() if c.stage == stage}
        found[stage] = own.get("*", own) if own else pool.workers
    return found


def _attained(scenario: Scenario, verdict: Verdict) -> Entry:
    """The share of requests that meet every SLO: of all and of each model, with 95 % intervals over the seeds.

    Beside each share that of the worst window, when it begins and with which seed.
    """
    missed, requests = verdict.total("missed"), verdict.total("requests")
    models = {}
    for name in requests:
        made = estimate(verdict.attained_by_seed(name), "slo_attainment", requests[name])
        models[name] = {
            "requests": requests[name],
            "share": verdict.attained_by(name),
            "half_width_95": made.half_width if made else None,
            "worst_window": _worst_window(scenario, verdict, name),
            "allowed_misses": verdict.allowed[name],
            "missed": missed[name],
            "missed_ttft": verdict.total("ttft")[name],
            "missed_tpot": verdict.total("tpot")[name],
        }
    by_seed = [1 - sum(row["missed"].values()) / max(sum(row["requests"].values()), 1) for row in verdict.rows]
    total = sum(requests.values())
    made = estimate(by_seed, "slo_attainment", total)
    return {
        "share": verdict.attained,
        "half_width_95": made.half_width if made else None,
        "worst_window": _worst_window(scenario, verdict, None),
        "ttft": 1 - sum(verdict.total("ttft").values()) / total if total else None,
        "tpot": 1 - sum(verdict.total("tpot").values()) / total if total else None,
        "worst_model": min(requests, key=lambda name: 1.0 if (share := verdict.attained_by(name)) is None else share),
        "models": models,
    }


def _worst_window(scenario: Scenario, verdict: Verdict, model: str | None) -> Entry | None:
    found = verdict.worst_window(model)
    return found and {**found, "seed": scenario.seed + found["seed"]}


def _figures(verdict: Verdict) -> Entry:
    """Means over the seeds with their intervals."""
    tags = verdict.rows[0]["figures"] or {}
    made = {tag: estimate(verdict.figure(tag), tag) for tag in tags}
    return {tag: one and {"mean": one.mean, "half_width_95": one.half_width} for tag, one in made.items()}


def _cost(scenario: Scenario, gpus: int, verdict: Verdict) -> Entry | None:
    assert scenario.plan
    price = scenario.plan.price_per_gpu_hour
    output = estimate(verdict.figure("output_throughput_window"))
    if price is None:
        return None
    per_hour = price * gpus
    per_million = per_hour / (output.mean * 3600) * 1e6 if output and output.mean else None
    return {"per_hour": per_hour, "per_million_output_tokens": per_million}


def _rates(rates: Rates) -> Entry:
    return {
        "passes": rates.passes,
        "fails": rates.fails,
        "reason": rates.reason.value,
        "breaks": None if rates.verdict_fails is None else _broken(rates.verdict_fails),
    }


def _broken(verdict: Verdict, to_the_end: Verdict | None = None) -> Entry:
    """What breaks first, in a verdict that fails, and how badly: as far as it went, or to the end."""
    worst, last = verdict.worst_model, to_the_end or verdict
    return {
        "passes": verdict.passes,
        "model": worst,
        "slo": verdict.broken_slo,
        "share": last.attained_by(worst),
        "worst_window_share": (last.worst_window(worst) or {"share": None})["share"],
        "whole": last.whole,
    }


def _curve_point(row: Mapping[str, Any]) -> Entry:
    requests, missed = sum(row["requests"].values()), sum(row["missed"].values())
    return {"attained": 1 - missed / requests if requests else None, **row["figures"]}


def _point(verdict: Verdict) -> Entry:
    """A line of the table of everything that was tried."""
    worst = verdict.worst_model
    return {
        "conditions": verdict.conditions.plain(),
        "model": verdict.model,
        "sizes": {f"{coordinate.stage}/{coordinate.group}": size for coordinate, size in verdict.sizes.items()},
        "seeds": len(verdict.rows),
        "requests": sum(verdict.total("requests").values()),
        "share": verdict.attained,
        "worst_model": worst,
        "worst_share": verdict.attained_by(worst),
        "worst_window_share": (verdict.worst_window(worst) or {"share": None})["share"],
        "whole": verdict.whole,
        "stopped_s": max((row["stopped_s"] for row in verdict.rows if row["stopped_s"] is not None), default=None),
        "passes": verdict.passes,
        "broken": None if verdict.passes else verdict.broken_slo,
    }


def _within_error(one: ArmPlan) -> bool | None:
    """Whether the typical error of the profiles would change the number of GPUs; None if that error is not known."""
    if TYPICAL not in one.variants or one.sizes is None:
        return None
    _, found = one.variants[TYPICAL]
    if found.reason is Reason.BUDGET:
        return None
    return found.sizes is None or sum(found.sizes.values()) > sum(one.sizes.values())
