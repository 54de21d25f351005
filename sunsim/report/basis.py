"""What a result rests on: what was measured, what is derived from that, what is assumed."""

from collections.abc import Iterator

import numpy as np

from sunsim.latency.profile import Profile
from sunsim.report.drafts_basis import assumed_of_drafts, bounds_of_drafts, derived_of_drafts
from sunsim.report.format import counted, listed, of_arms, together
from sunsim.report.origin import estimate_facts, left_out, origin
from sunsim.report.traffic import arrivals_fact, popularity_facts, stretches_fact
from sunsim.roles import Module, Stage
from sunsim.scenario import Scenario
from sunsim.scenario.requests import caches_prefixes
from sunsim.workload.blocks import Closed, Conversations, Synthetic, Trace
from sunsim.workload.requests import Requests
from sunsim.workload.traces.hashes import BLOCK_TOKENS

KNOBS = ("signal", "threshold_s", "target", "rps_per_worker")
"""Of a scaling policy, what trades GPUs against latency."""


def basis(scenario: Scenario, requests: Requests | None = None) -> dict[str, list[str]]:
    """Short facts under `measured`, `derived` and `assumed`; under `estimated` where a profile is, and under `upper_bound`
    where no engine is as fast.

    Args:
        requests: of the scenario; without them no facts are given that hang on the seed.
    """
    bounds = bounds_of_drafts(scenario)
    estimated = [fact for name, profile in scenario.profiles.items() for fact in estimate_facts(name, profile)]
    return {
        **({"upper_bound": bounds} if bounds else {}),
        "measured": _measured(scenario),
        **({"estimated": estimated} if estimated else {}),
        "derived": [
            "step times between the measured points, and of steps that mix decodes with a prompt",
            "KV occupancy and utilisation, from the requests' times",
            "tokens inside the window, a request's taken as evenly spaced",
            *derived_of_drafts(scenario),
        ],
        "assumed": _assumed(scenario, requests),
    }


def _measured(scenario: Scenario) -> list[str]:
    facts = _of_profiles(scenario)
    workload = scenario.workload
    if isinstance(workload, Trace):
        assert scenario.trace
        follow = scenario.trace.rows.rounds is not None
        what = "arrivals of sessions, times to think and lengths" if follow else "arrivals and lengths"
        facts.append(", ".join(filter(None, (f"{what} of {workload.path.name}", left_out(scenario.trace)))))
    elif isinstance(workload, Synthetic) and workload.lengths.kind in {"azure-conv", "azure-code"}:
        facts.append(f"lengths of {workload.lengths.kind}")
    if (link := scenario.transfers) and any(len(arm.pools()) == 2 for arm in scenario.arms):
        facts.append(f"KV transfers of {link.path.stem} ({link.data.card}, {link.data.date[:10]})")
    return facts


def _of_profiles(scenario: Scenario) -> list[str]:
    """What was measured of profiles: each list once, with all that it is true of, and each origin once in it."""
    measured = [(name, profile) for name, profile in scenario.profiles.items() if not profile.data.estimated]
    alike = together((listed(_of_profile(profile)), (origin(profile), name)) for name, profile in measured)
    return [
        f"{what} of {listed([f'{listed(names)} ({place})' for place, names in together(places).items()])}"
        for what, places in alike.items()
    ]


def _of_profile(profile: Profile) -> list[str]:
    data = profile.data
    served = any(point.lengths == "traffic" for point in data.decode_points)
    facts = ["step times", "KV blocks"]
    facts += ["idle front-end delays"] if any(point.where == "idle" for point in data.first_token_points) else []
    facts += ["what mixed lengths add to decode steps"] if served else []
    facts += ["launches"] if data.idle_starts else []
    facts += ["power"] if data.idle_power_w is not None else []
    return facts + (["host stalls"] if data.host_stalls else [])


def _assumed(scenario: Scenario, requests: Requests | None) -> list[str]:
    workload = scenario.workload
    if isinstance(workload, Trace):
        facts = _of_trace(scenario, workload)
    elif isinstance(workload, Conversations):
        facts = [*_of_conversations(workload), *popularity_facts(scenario)]
    else:
        facts = [*_of_synthetic(workload), *popularity_facts(scenario)]
    if unheld := unheld_rounds(requests):
        facts.append(unheld)
    if any(len(arm.pools()) == 2 for arm in scenario.arms):
        link = scenario.transfer
        if link.measured is None:
            facts.append(
                f"KV link {link.bandwidth_gbit_s:g} Gbit/s and {link.latency_ms:g} ms, at no cost to the workers"
            )
        else:
            facts.append("transfers at a time share the link equally")
        facts.append(f"first token from {scenario.first_token}")
        facts.append("a request holds its place and blocks on the decode worker while its KV moves")
    if any(arm.decode and not arm.prefill for arm in scenario.arms):
        facts.append("without prefill, a prompt's KV is there at its arrival")
    facts += of_arms(_preempted(scenario))
    if any(profile.adapters for profile in scenario.profiles.values()):
        facts.append("adapters share their base's weights, and a step may mix them")
    facts += assumed_of_drafts(scenario)
    facts += of_arms(_reuse(scenario)) + _scaling(scenario) + _reports(scenario)
    return facts + of_arms(_known(scenario)) + _changed(scenario)


def _preempted(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Where requests go that lost their place on a decode worker that cannot prefill them, and the arm."""
    for arm in scenario.arms:
        decode, prefill = arm.decode, arm.prefill
        if not decode or not decode.module.only_decodes or arm.prefills_on_decode or decode.all_convertible:
            continue
        if prefill is None:
            way = "has its prompt's KV back at no cost"
        else:
            owner = "the shared" if prefill.shared else "its model's"
            way = f"goes back to {owner} prefill workers"
        which = "shared decode" if decode.module is Module.SHARED else "decode"
        which += " that is not convertible" if decode.convertible else ""
        yield f"what {which} preempts {way}", arm.name


def _reuse(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """What of a prompt is not computed, and where the rest of later rounds' prompts is, and the arm."""
    for arm in scenario.arms:
        caching = [stage for stage, pool in arm.pools().items() if pool.block.enable_prefix_caching]
        if caching:
            where = arm.name if len(caching) == len(arm.pools()) else f"{arm.name} {caching[0]}"
            yield "prefix caches by vLLM's rules", where
        if arm.block.prefill and arm.block.prefill.module == "shared":
            yield "one frozen prefill module for all models, whose KV serves each", arm.name
        decode = arm.block.decode
        if decode and decode.append_prefill != "remote":
            when = f", where rule {decode.append_rule} says so" if decode.append_rule else ""
            yield f"later rounds' prompts computed where the round before was decoded{when}", arm.name
        if decode and (convertible := decode.convertible):
            chunk = f"in chunks of {convertible.max_chunk_tokens} tokens beside decodes"
            when = f"while prefill is more than {convertible.threshold_s:g} s behind"
            yield f"decode workers that take whole requests {chunk} {when}", arm.name
        if decode and decode.history == "keep":
            yield "KV that decoding made serves as prefill's own", arm.name


def _scaling(scenario: Scenario) -> list[str]:
    """How elastic pools change their size; those that do so alike are named together."""
    found = []
    for arm in scenario.arms:
        for stage, pool in arm.pools().items():
            if scaling := pool.block.scaling:
                knobs = [f"{name} {value}" for name in KNOBS if (value := getattr(scaling, name, None)) is not None]
                way = f"{scaling.kind} ({', '.join(knobs)})" if knobs else scaling.kind
                when = f"every {scaling.interval_s:g} s, {scaling.start_s:g} s from a worker's order until it takes requests"
                found.append((when, (way, f"{arm.name} {stage}")))
    return [
        f"pools grow and shrink {when}, by {listed([f'{way} in {listed(names)}' for way, names in together(ways).items()])}"
        for when, ways in together(found).items()
    ]


def base_models(scenario: Scenario) -> dict[str, str]:
    """Of each arm the base model that its profiles are of; all pools of an arm have the same."""
    return {arm.name: next(pool.profile.data.model for pool in arm.pools().values()) for arm in scenario.arms}


def _reports(scenario: Scenario) -> list[str]:
    """Arms whose routers do not see loads as they are."""
    return [
        f"{arm.name} {stage} loads reported every {pool.load_report.every_ms:g} ms, {pool.load_report.delay_ms:g} ms late"
        for arm in scenario.arms
        for stage, pool in arm.pools().items()
        if pool.load_report
    ]


def _known(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """What routers know of output lengths, and who refuses requests, and the arm."""
    for arm in scenario.arms:
        for stage, pool in arm.pools().items():
            if block := pool.block.output_lengths:
                right = f"predicted, {100 * (block.accuracy or 0):g} % right, else another request's"
                what = {"exact": "known", "none": "known in the mean alone", "predicted": right}[block.known]
                yield f"output lengths {what}, when a request comes", f"{arm.name} {stage}"
        if shed := arm.block.admission:
            factor = f" times {shed.factor:g}" if shed.factor != 1 else ""
            yield f"requests that are predicted to miss an SLO{factor} are refused", arm.name


def _of_synthetic(workload: Synthetic) -> list[str]:
    arrivals = workload.arrivals
    if isinstance(arrivals, Closed):
        facts = [f"a closed loop of {arrivals.concurrency} requests at a time"]
    else:
        facts = [arrivals_fact(arrivals)]
    if workload.lengths.kind in {"fixed", "lognormal"}:
        facts.append(f"{workload.lengths.kind} lengths")
    return facts


def _of_conversations(workload: Conversations) -> list[str]:
    rounds = workload.rounds
    drawn = f"geometric numbers of rounds, {rounds.mean:g} in the mean"
    if rounds.max is not None:
        drawn = f"{rounds.max} rounds each" if rounds.mean == rounds.max else f"{drawn} and {rounds.max} at most"
    return [
        arrivals_fact(workload.arrivals, " of sessions", "a second"),
        drawn,
        f"exponential times to think, {workload.think_s.mean:g} s in the mean",
        f"{workload.user.kind} new tokens and {workload.output.kind} answers",
        *(["rounds take turns of the models"] if workload.take_turns else []),
    ]


def unheld_rounds(requests: Requests | None) -> str:
    """That sessions end early, and how many rounds that leaves out; empty if none does."""
    if requests is None or requests.sessions is None or not requests.sessions.unfit:
        return ""
    return (
        f"{counted(requests.sessions.unfit, 'round')} left out that fit into no worker: their sessions end before them"
    )


def _of_trace(scenario: Scenario, workload: Trace) -> list[str]:
    facts = [stretches_fact(workload.stretches)] if workload.stretches else []
    if workload.rate_scale != 1:
        facts.append(f"{workload.rate_scale:g} times the trace's rate")
    if isinstance(workload.models, dict):
        facts.append(f"models: {listed([f'{name} is {model}' for name, model in workload.models.items()])}")
    elif scenario.trace and scenario.trace.rows.model is None:
        facts += popularity_facts(scenario)
    facts += filter(None, [unused_popularity(scenario)])
    if tokens := BLOCK_TOKENS.get(workload.format):
        cached = caches_prefixes(scenario)
        known = f"by their hashes, each of {tokens} tokens, and no answer is part of a later prompt"
        facts.append(f"what prompts have in common is {f'known {known}' if cached else 'computed for each of them'}")
    return facts


def unused_popularity(scenario: Scenario) -> str:
    """That requests' models do not follow the popularity which a loaded scenario states; empty if they do."""
    workload, shares = scenario.workload, scenario.model_shares
    if not isinstance(workload, Trace) or scenario.trace is None or scenario.trace.rows.model is None:
        return ""
    counts = np.bincount(scenario.trace.rows.model, minlength=len(shares))
    if len(set(shares)) == 1 or np.allclose(counts / counts.sum(), shares):
        return ""
    return f"models of requests as {workload.path.name} names them, not by {listed(popularity_facts(scenario))}"


def _changed(scenario: Scenario) -> list[str]:
    """Engine options that differ from what the profile was measured with."""
    facts = []
    for arm in scenario.arms:
        for stage, pool in arm.pools().items():
            profile = pool.profile
            options = ["max_num_seqs", "max_num_batched_tokens", "max_model_len"]
            if not (stage is Stage.PREFILL and pool.shared and not profile.adapters):
                options.append("num_gpu_blocks")
            facts += [
                f"{arm.name} {stage} {option} {getattr(pool, option)} (measured with {getattr(profile, option)})"
                for option in options
                if getattr(pool, option) != getattr(profile, option)
            ]
    return facts
