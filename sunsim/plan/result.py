"""A plan as data: the content of `plan.json`, from which every text, table and figure is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.measured import arriving_s, window_of
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.windows import Stretches
from sunsim.version import __version__
from sunsim.workload.blocks import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sunsim.plan.doubt import Doubt
    from sunsim.scenario import Scenario

    Entry = dict[str, Any]

SCHEMA_VERSION = 1


def document(
    scenario: Scenario,
    arms: Mapping[str, Entry],
    doubts: Mapping[str, Mapping[str, Doubt]],
    meta: Mapping[str, Any],
) -> Entry:
    """All of a plan.

    Args:
        scenario: with its plan block.
        arms: what was found out about each, in the order of the scenario.
        doubts: by stage and profile.
        meta: where it came from: command, basis, hashes, number of simulations.
    """
    assert scenario.plan
    plan, drawn = scenario.plan, requests_under(scenario, AS_PLANNED)
    stretches = Stretches.of(scenario)
    window = window_of(scenario, drawn)
    too_short = any(arm["portrait"]["window_too_short"] for arm in arms.values() if arm.get("portrait"))
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
        "arms": dict(arms),
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
