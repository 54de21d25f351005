"""What a result rests on: what was measured, what is derived from that, what is assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.report.format import listed
from sunsim.report.origin import origin
from sunsim.scenario_models import ModelCount, Zipf
from sunsim.workload_models import Synthetic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sunsim.latency.profile import Profile
    from sunsim.scenario_models import Scenario


def basis(scenario: Scenario, profiles: Mapping[str, Profile]) -> dict[str, list[str]]:
    """Short facts under `measured`, `derived` and `assumed`."""
    return {
        "measured": _measured(scenario, profiles),
        "derived": [
            "step times between the measured points, and of steps that mix decodes with a prompt",
            "KV occupancy and utilisation, from the requests' times",
            "tokens inside the window, a request's taken as evenly spaced",
        ],
        "assumed": _assumed(scenario, profiles),
    }


def _measured(scenario: Scenario, profiles: Mapping[str, Profile]) -> list[str]:
    facts = [f"{listed(_of_profile(profile))} of {name} ({origin(profile)})" for name, profile in profiles.items()]
    workload = scenario.workload
    if not isinstance(workload, Synthetic):
        facts.append(f"arrivals and lengths of {workload.path.name}")
    elif workload.lengths.kind in {"azure-conv", "azure-code"}:
        facts.append(f"lengths of {workload.lengths.kind}")
    return facts


def _of_profile(profile: Profile) -> list[str]:
    data = profile.data
    served = any(point.lengths == "traffic" for point in data.decode_points)
    facts = ["step times", "KV blocks", "idle front-end delays"]
    facts += ["what mixed lengths add to decode steps"] if served else []
    facts += ["launches"] if data.idle_starts else []
    return facts + (["host stalls"] if data.host_stalls else [])


def _assumed(scenario: Scenario, profiles: Mapping[str, Profile]) -> list[str]:
    facts = []
    if isinstance(scenario.workload, Synthetic):
        arrivals = scenario.workload.arrivals
        facts.append(f"{arrivals.kind.capitalize()} arrivals at {arrivals.rate_rps:g} req/s")
        if scenario.workload.lengths.kind in {"fixed", "lognormal"}:
            facts.append(f"{scenario.workload.lengths.kind} lengths")
        if isinstance(scenario.models, ModelCount):
            popularity = scenario.models.popularity
            facts.append(
                f"Zipf popularity, alpha {popularity.alpha:g}" if isinstance(popularity, Zipf) else "equal popularity"
            )
        else:
            facts.append("popularity as given")
    if any(len(arm.pools()) == 2 for arm in scenario.arms):
        link = scenario.transfer
        facts.append(f"KV link {link.bandwidth_gbit_s:g} Gbit/s and {link.latency_ms:g} ms")
        facts.append(f"first token from {scenario.first_token}")
        facts.append("a request holds its place and blocks on the decode worker while its KV moves")
        if any(arm.decode and arm.prefill and arm.decode.policy == "shared" for arm in scenario.arms):
            facts.append("prefill stays with its model when decode is shared, and what decode preempts goes back there")
    if any(arm.decode and not arm.prefill for arm in scenario.arms):
        facts.append("without prefill, a prompt's KV is there at its arrival")
    if any(profile.adapters for profile in profiles.values()):
        facts.append("adapters share their base's weights, and a step may mix them")
    return facts + _changed(scenario, profiles)


def _changed(scenario: Scenario, profiles: Mapping[str, Profile]) -> list[str]:
    """Engine options that differ from what the profile was measured with."""
    facts = []
    for arm in scenario.arms:
        for stage, pool in arm.pools().items():
            profile = profiles[pool.profile]
            options = ["max_num_seqs", "max_num_batched_tokens", "max_model_len"]
            if not (stage == "prefill" and pool.policy == "shared" and not profile.adapters):
                options.append("num_gpu_blocks")
            facts += [
                f"{arm.name} {stage} {option} {getattr(pool, option)} (measured with {getattr(profile, option)})"
                for option in options
                if getattr(pool, option) not in {None, getattr(profile, option)}
            ]
    return facts
