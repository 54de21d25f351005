"""A plan as data: the content of `plan.json`, from which every text, table and figure is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim import __version__
from sunsim.measured import arriving_s, window_of
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.fastest import hopeless
from sunsim.plan.search import Reason
from sunsim.plan.variants import TYPICAL
from sunsim.plan.windows import Stretches
from sunsim.sweep.estimates import estimate
from sunsim.workload.blocks import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sunsim.plan.doubt import Doubt
    from sunsim.plan.find import ArmPlan, Rates
    from sunsim.plan.verdict import Met, Verdict
    from sunsim.roles import Role
    from sunsim.scenario import Arm, Scenario

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
    too_short = any(one.portrait["window_too_short"] for one in plans if one.portrait)
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
        "window": {"start_s": window.start_s, "end_s": window.end_s, "too_short": too_short},
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


def _arm(scenario: Scenario, one: ArmPlan) -> Entry:
    entry: Entry = {
        "reason": one.reason,
        "stages": list(one.arm.pools()),
        "gpus": None,
        "points": [_point(verdict) for verdict in one.log],
    }
    if one.sizes is None or one.verdict is None:
        no_pass = one.reason is Reason.NO_PASS
        return entry | {"passes": False, "hopeless": hopeless(scenario, one.arm) if no_pass else []}
    sized = one.arm.with_workers(one.sizes)
    figures = _figures(one.verdict)
    return entry | {
        "passes": one.verdict.passes,
        "hopeless": [] if one.verdict.passes else hopeless(scenario, one.arm),
        "gpus": _gpus(sized),
        "workers": {stage: pool.workers for stage, pool in sized.pools().items()},
        "attained": _attained(one.verdict),
        "overloaded": one.verdict.overloaded,
        "figures": figures,
        "cost": _cost(scenario, sized.gpus, figures),
        "one_less": [
            {"pool": _label(role)} | _broken(less.verdict, less.to_the_end) for role, less in one.less.items()
        ],
        "not_monotone": [_point(verdict) for verdict in one.breaking],
        "rates": one.rates and _rates(one.rates),
        "curve": [
            {"rate": rate, "attained": _share(row["together"]), **row["figures"]} for rate, row in one.curve.items()
        ],
        "variants": {
            name: {
                "conditions": conditions.plain(),
                "gpus": None if found.sizes is None else _gpus(one.arm.with_workers(found.sizes)),
                "reason": found.reason,
            }
            for name, (conditions, found) in one.variants.items()
        },
        "within_error": _within_error(one),
        "portrait": one.portrait,
    }


def _gpus(arm: Arm) -> dict[str, int]:
    """GPUs of each stage that the arm has, and of all."""
    return {stage: pool.gpus for stage, pool in arm.pools().items()} | {"all": arm.gpus}


def _label(role: Role) -> str:
    return f"{role.stage} GPUs of {role.model}" if role.model else f"{role.stage} GPUs"


def _share(counts: Mapping[str, int]) -> float | None:
    return 1 - counts["missed"] / counts["requests"] if counts["requests"] else None


def _attained(verdict: Verdict) -> Entry:
    """The share of requests that meet every SLO: of all and of each model, with 95 % intervals over the seeds.

    Beside each share that of the worst window, when it begins and with which seed.
    """
    met, models = verdict.together, verdict.models
    return _interval(met) | {
        "ttft": 1 - met.ttft / met.requests if met.requests else None,
        "tpot": 1 - met.tpot / met.requests if met.requests else None,
        "worst_model": min(models, key=lambda name: 1.0 if (share := models[name].share) is None else share),
        "models": {
            name: {
                "requests": own.requests,
                **_interval(own),
                "allowed_misses": own.allowed,
                "missed": own.missed,
                "missed_ttft": own.ttft,
                "missed_tpot": own.tpot,
            }
            for name, own in models.items()
        },
    }


def _interval(met: Met) -> Entry:
    made = estimate(met.by_seed, "slo_attainment", met.requests)
    return {"share": met.share, "half_width_95": made.half_width if made else None, "worst_window": met.worst}


def _figures(verdict: Verdict) -> Entry:
    """Means over the seeds with their intervals."""
    tags = verdict.rows[0]["figures"] or {}
    made = {tag: estimate(verdict.figure(tag), tag) for tag in tags}
    return {tag: one and {"mean": one.mean, "half_width_95": one.half_width} for tag, one in made.items()}


def _cost(scenario: Scenario, gpus: int, figures: Entry) -> Entry | None:
    assert scenario.plan
    price, output = scenario.plan.price_per_gpu_hour, figures.get("output_throughput_window")
    if price is None:
        return None
    per_hour = price * gpus
    per_million = per_hour / (output["mean"] * 3600) * 1e6 if output and output["mean"] else None
    return {"per_hour": per_hour, "per_million_output_tokens": per_million}


def _rates(rates: Rates) -> Entry:
    return {
        "passes": rates.passes,
        "fails": rates.fails,
        "reason": rates.reason,
        "breaks": rates.verdict and _broken(rates.verdict),
    }


def _broken(verdict: Verdict, to_the_end: Verdict | None = None) -> Entry:
    """What breaks first, in a verdict that fails, and how badly: as far as it went, or to the end."""
    worst, last = verdict.worst_model, to_the_end or verdict
    return {
        "passes": verdict.passes,
        "model": worst,
        "slo": verdict.broken_slo,
        "share": last.models[worst].share,
        "worst_window_share": last.models[worst].worst_share,
        "whole": last.whole,
    }


def _point(verdict: Verdict) -> Entry:
    """A line of the table of everything that was tried."""
    worst = verdict.worst_model
    return {
        "conditions": verdict.conditions.plain(),
        "model": verdict.model,
        "sizes": {f"{role.stage}/{role.serves}": size for role, size in verdict.sizes.items()},
        "seeds": len(verdict.rows),
        "requests": verdict.together.requests,
        "share": verdict.together.share,
        "worst_model": worst,
        "worst_share": verdict.models[worst].share,
        "worst_window_share": verdict.models[worst].worst_share,
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
