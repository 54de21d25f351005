"""What one block of a scenario cannot know alone: profiles, models against workers, lengths against limits."""

from os.path import isfile

from sunsim.clock import MAX_S
from sunsim.document.block import key_hint
from sunsim.document.source import Loc, Source
from sunsim.errors import clipped
from sunsim.latency.profile import Profile, find_profile, list_profiles, load_profile
from sunsim.latency.transfer import load_transfers
from sunsim.roles import Stage
from sunsim.scenario.accuracy import completed_accuracy
from sunsim.scenario.arms import modules_of
from sunsim.scenario.blocks import ArmBlock, Document, Transfer
from sunsim.scenario.convertible import convertible_of, with_chunks
from sunsim.scenario.memory import Beside, beside_of, options_of
from sunsim.scenario.named import models_of, refuse_unknown
from sunsim.scenario.pools import PoolBlock
from sunsim.scenario.rounds import appends_in_steps, completed, refuse_pool
from sunsim.scenario.routing import completed_router, refuse_admission, refuse_router
from sunsim.scenario.scaling import Bounds
from sunsim.scenario.scenario import Scenario
from sunsim.scenario.sizes import refuse_oracle, scaling_of, workers_of
from sunsim.scenario.speculative_checks import completed_drafts, family_of
from sunsim.scenario.traffic import completed_traffic
from sunsim.workload.blocks import MAX_REQUESTS, Closed, Conversations, Synthetic, Trace
from sunsim.workload.lengths import longest, most_tokens
from sunsim.workload.traces.known import FORMATS

FEW_REQUESTS = 10_000


def complete(document: Document, source: Source) -> Scenario:
    """`document` with everything that it leaves out filled in, checked against profiles and itself, and looked up.

    Raises:
        InputError: a value does not go together with the others; says where it stands.
    """
    _unique([arm.name for arm in document.arms], ("arms",), source)
    workload = document.workload
    if isinstance(workload, Trace):
        path = (source.folder / workload.path).resolve()
        if not isfile(path):  # noqa: PTH113 - is no error where the name is too long
            loc: Loc = ("workload", "path")
            raise source.error(
                loc,
                f"workload.path is '{clipped(str(workload.path))}', must be a trace file: there is none at {clipped(str(path), 300)}",
            )
        workload = workload.model_copy(update={"path": path})
    document = document.model_copy(update={"workload": workload, "models": models_of(document, workload, source)})
    _unique(list(document.model_names), ("models",), source)
    if set(document.model_names) <= Bounds.model_fields.keys():
        message = f"models are named {', '.join(document.model_names)} alone, must have other names"
        raise source.error(("models",), f"{message}: workers {{min, max}} are bounds")
    document = completed_traffic(document, source)
    workload = document.workload
    for name in document.slo.models:
        refuse_unknown(name, ("slo", "models"), document, source)
    if isinstance(workload, Trace):
        _models_mapped(workload, document, source)
    elif workload.duration_s is not None and document.measure.warmup_s >= workload.duration_s:
        message = f"measure.warmup_s is {document.measure.warmup_s:g}, must be less than workload.duration_s"
        raise source.error(("measure", "warmup_s"), f"{message} ({workload.duration_s:g})")
    transfer = _complete_transfer(document.transfer, source)
    arms = tuple(_complete_arm(arm, index, document, source) for index, arm in enumerate(document.arms))
    scenario = Scenario(document.model_copy(update={"arms": arms, "transfer": transfer}))
    if not isinstance(workload, Trace):
        _requests_fit(workload, source)
        _lengths_fit(scenario, workload, source)
    refuse_oracle(scenario, source)
    return with_chunks(scenario, source)


def _unique(names: list[str], loc: Loc, source: Source) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            message = f"{loc[0]}: the name {name} is given twice, each must have its own"
            raise source.error((*loc, index, "name"), message)
        seen.add(name)


def _models_mapped(workload: Trace, document: Document, source: Source) -> None:
    if not isinstance(workload.models, dict):
        return
    loc: Loc = ("workload", "models")
    if FORMATS[workload.format].model is None:
        message = f"workload.models is given, must be left out: a trace of format {workload.format} names no models"
        raise source.error(loc, message)
    names = document.model_names
    for name, model in workload.models.items():
        if model not in names:
            message = (
                f"workload.models.{name} is '{model}', which is no model of the scenario, {key_hint(model, names)}"
            )
            raise source.error((*loc, name), message)


def _complete_arm(arm: ArmBlock, index: int, document: Document, source: Source) -> ArmBlock:
    pools: dict[str, PoolBlock] = {}
    profiles: dict[Stage, Profile] = {}
    named: dict[Stage, Profile] = {}
    served: set[str] = set()
    refuse_admission(arm, ("arms", index), document, source)
    for stage, pool in arm.pools().items():
        loc: Loc = ("arms", index, stage)
        name, profile = _profile(pool, loc, source)
        if served - {profile.data.model}:
            message = f"is a profile of {profile.data.model}, must be one of {served.pop()}, as prefill is"
            raise source.error((*loc, "profile"), f"{source.path(loc)}.profile {message}")
        served.add(profile.data.model)
        profiles[stage] = named[stage] = profile
        steps = Stage.COLOCATED if appends_in_steps(arm, stage, profiles) else stage
        _can_compute(steps, profile, name, loc, source)
        refuse_router(arm, stage, loc, source)
        if stage is Stage.COLOCATED and pool.policy == "shared" and not profile.adapters:
            message = f"is shared, must be isolated: only adapters share workers that prefill, {name} has none"
            raise source.error((*loc, "policy"), f"{source.path(loc)}.policy {message}")
        refuse_pool(arm, stage, profile, loc, document, source)
        if family := family_of(arm, stage, profile, loc, document, source):
            profile = profiles[stage] = family.limiting
        beside = beside_of(arm, stage, profiles, document, loc, source)
        # Of a pool of fixed size only the convertible workers hold prefill's modules.
        some_hold = stage is Stage.DECODE and arm.decode and arm.decode.convertible and pool.scaling is None
        options = options_of(pool, profile, Beside() if some_hold else beside, loc, source)
        workers = workers_of(pool, document, loc, source)
        scaling = scaling_of(pool, stage, workers, document, loc, source)
        own: dict[str, object] = {"profile": name, "workers": workers, "allocation": None, "scaling": scaling}
        own["speculative_config"] = completed_drafts(pool, options, loc, source)
        if stage is Stage.DECODE:
            own["convertible"] = convertible_of(arm, profile, beside, options, workers, document, loc, source)
        pools[stage] = pool.model_copy(update=own | options | completed(pool) | completed_router(pool))
    update: dict[str, object] = dict(pools)
    if arm.accuracy:
        place: Loc = ("arms", index, "accuracy")
        update["accuracy"] = completed_accuracy(arm.accuracy, modules_of(arm), named, place, source)
    return arm.model_copy(update=update)


def _complete_transfer(transfer: Transfer, source: Source) -> Transfer:
    if transfer.measured is None:
        return transfer
    loc: Loc = ("transfer", "measured")
    try:
        path = find_profile(transfer.measured, source.folder)
    except OSError as error:
        message = f"transfer.measured is '{clipped(transfer.measured)}', must be a .json file of measured transfers, or a shipped one"
        raise source.error(loc, message) from error
    load_transfers(path)
    name = str(path.resolve()) if transfer.measured.endswith(".json") else transfer.measured
    return transfer.model_copy(update={"measured": name})


def _profile(pool: PoolBlock, loc: Loc, source: Source) -> tuple[str, Profile]:
    try:
        path = find_profile(pool.profile, source.folder)
    except OSError as error:
        shipped = ", ".join(list_profiles()) or "none is shipped"
        where = source.path((*loc, "profile"))
        message = (
            f"{where} is '{clipped(pool.profile)}', must be a .json file or one of the shipped profiles: {shipped}"
        )
        raise source.error((*loc, "profile"), message) from error
    name = str(path.resolve()) if pool.profile.endswith(".json") else pool.profile
    return name, load_profile(path)


def _can_compute(stage: str, profile: Profile, name: str, loc: Loc, source: Source) -> None:
    """Whether the profile has measured any of the steps that a stage consists of."""
    points = {"decode_points": profile.data.decode_points, "prefill_points": profile.data.prefill_points}
    needed = {"prefill": ["prefill_points"], "decode": ["decode_points"], "colocated": list(points)}[stage]
    for kind in needed:
        if not points[kind]:
            message = f"{source.path((*loc, 'profile'))} is '{name}', must be one with {kind}: it has none"
            raise source.error((*loc, "profile"), message)


def _requests_fit(workload: Synthetic | Conversations, source: Source) -> None:
    """Refuses at once what would only be seen to be too much when it has been drawn."""
    if isinstance(workload.arrivals, Closed):
        return
    rate_rps = workload.arrivals.mean_rps
    rounds = 1.0
    if isinstance(workload, Conversations):
        rounds = min(workload.rounds.mean, workload.rounds.max or workload.rounds.mean)
    requests = None if isinstance(workload, Conversations) else workload.requests
    what = f"{workload.arrivals.said_rate}, must bring"
    loc: Loc = ("workload", "arrivals", "rate_rps")
    if requests is None and workload.duration_s is not None:
        gain = workload.arrivals.bursts.gain if workload.arrivals.bursts else 1.0
        expected = rate_rps * workload.duration_s * rounds * gain
        if expected > MAX_REQUESTS:
            raise source.error(loc, f"{what} at most {MAX_REQUESTS:,} requests, not {expected:,.0f}")
    elif workload.duration_s is None and requests is not None:
        expected_s = requests / rate_rps
        # Gaps are drawn: a few may add up to far less than their mean, and are drawn in no time.
        if expected_s > 2 * MAX_S and requests > FEW_REQUESTS:
            raise source.error(loc, f"{what} {requests:,} requests within {MAX_S:,.0f} s, not {expected_s:,.0f} s")


def _lengths_fit(scenario: Scenario, workload: Synthetic | Conversations, source: Source) -> None:
    """Refuses requests, or first rounds, that fit nowhere; before later rounds a session ends."""
    if isinstance(workload, Conversations):
        prompt, output = workload.system_prompt_tokens + most_tokens(workload.user), most_tokens(workload.output)
        loc: Loc = ("workload", "user")
        what = "workload can draw a first round of"
    else:
        prompt, output = longest(workload.lengths)
        loc, what = ("workload", "lengths"), "workload.lengths can draw"
    for limit in scenario.limits:
        longest_request = prompt + (1 if limit.prompt_only else output)
        if longest_request > limit.tokens:
            kind = "prompt + first token" if limit.prompt_only else "prompt + output"
            must = f"must be at most {limit.tokens}" if limit.tokens > 1 else "there is room for no request"
            message = f"{what} {longest_request} tokens ({kind}), {must}"
            raise source.error(loc, f"{message}: {limit.reason}")
