"""What the keys of an arm about conversations ask of one another: caches, routers, and where later rounds are computed."""

from collections.abc import Mapping

from sunsim.document.source import Loc, Source, refuse
from sunsim.latency.profile import Profile
from sunsim.roles import Module, Stage
from sunsim.scenario.arms import modules_of
from sunsim.scenario.blocks import ArmBlock, Document
from sunsim.scenario.pools import AFFINE, DecodeBlock, PoolBlock
from sunsim.workload.blocks import Synthetic

MAX_IMBALANCE = 32
"""Requests, where router prefix-affinity is told nothing else: an eighth of the places of a worker that has 256. Assumed."""


def refuse_pool(arm: ArmBlock, stage: Stage, profile: Profile, loc: Loc, document: Document, source: Source) -> None:
    """Refuses what the block of a stage says about conversations and does not go together.

    Args:
        profile: the block's.
        loc: where the block stands.

    Raises:
        InputError: with the place of the key that is wrong.
    """
    pool = arm.pools()[stage]
    if isinstance(document.workload, Synthetic):
        for key in ("router", "append_prefill", "history"):
            if (value := getattr(pool, key, None)) in (*AFFINE, "local", "auto", "keep"):
                refuse(key, value, "must be left out: requests of kind synthetic are no sessions", loc, source)
    if pool.max_imbalance is not None and pool.router != "prefix-affinity":
        refuse("max_imbalance", pool.max_imbalance, "must be left out: only router prefix-affinity has it", loc, source)
    if pool.router == "prefix-affinity" and not pool.enable_prefix_caching:
        refuse("router", pool.router, "must be another, or have enable_prefix_caching: true", loc, source)
    if arm.prefill and arm.prefill.module == "shared":
        if stage is Stage.PREFILL and pool.policy != "shared":
            refuse("module", "shared", "must be own, or policy must be shared", loc, source)
        if profile.adapters:
            must = f"must be one without adapters: prefill.module is shared, and {profile.name} has each model's own"
            refuse("profile", pool.profile, must, loc, source)
    if isinstance(pool, DecodeBlock):
        _refuse_decode(arm, pool, loc, document, source)


def _refuse_decode(arm: ArmBlock, pool: DecodeBlock, loc: Loc, document: Document, source: Source) -> None:
    appends, keeps = pool.append_prefill != "remote", pool.history == "keep"
    if arm.prefill is None:
        given = {"append_prefill": appends, "history": keeps, "enable_prefix_caching": pool.enable_prefix_caching}
        for key in (key for key, is_given in given.items() if is_given):
            refuse(key, getattr(pool, key), "must be left out: without prefill nothing is computed", loc, source)
        return
    if (appends or keeps) and not pool.enable_prefix_caching:
        key = "append_prefill" if appends else "history"
        must = f"must be {'remote' if appends else 'rebuild'}, or have enable_prefix_caching: true"
        refuse(key, getattr(pool, key), must, loc, source)
    if keeps and not arm.prefill.enable_prefix_caching:
        refuse("history", "keep", "must be rebuild, or have enable_prefix_caching: true in prefill too", loc, source)
    if pool.append_rule and pool.append_prefill != "auto":
        refuse("append_rule", pool.append_rule, "must be left out: only append_prefill auto has it", loc, source)
    if pool.append_rule == "slack":
        for name in document.model_names:
            if not {"ttft_ms", "tpot_ms"} <= document.slo.of(name).keys():
                must = f"must be bounded, or have slo.ttft_ms and slo.tpot_ms: {name} lacks one"
                refuse("append_rule", "slack", must, loc, source)


def completed(pool: PoolBlock) -> dict[str, object]:
    """What a block leaves out."""
    found: dict[str, object] = {}
    if pool.router == "prefix-affinity" and pool.max_imbalance is None:
        found["max_imbalance"] = MAX_IMBALANCE
    if isinstance(pool, DecodeBlock) and pool.append_prefill == "auto":
        found["append_rule"] = pool.append_rule or "bounded"
    return found


def prefill_modules(arm: ArmBlock, stage: Stage, models: int, profiles: Mapping[Stage, Profile]) -> int:
    """How many prefill modules a worker of a stage holds beside the one it decodes with, to compute prompts.

    Args:
        models: of the scenario.
        profiles: of the stage, and of prefill where there is such a stage.
    """
    if not _appends(arm, stage) or profiles[stage].adapters:
        return 0
    modules = modules_of(arm)
    # Adapters have their base in common.
    if modules[Stage.PREFILL] is Module.SHARED or (
        modules[stage] is Module.SHARED and profiles[Stage.PREFILL].adapters
    ):
        return 1
    return models if modules[stage] is Module.SHARED else 0


def appends_in_steps(arm: ArmBlock, stage: Stage, profiles: Mapping[Stage, Profile]) -> bool:
    """Whether workers of a stage compute prompts with the module that decodes, in the same steps."""
    return _appends(arm, stage) and not prefill_modules(arm, stage, 1, profiles)


def _appends(arm: ArmBlock, stage: Stage) -> bool:
    """Whether workers of a stage that decodes may compute prompts, as prefill does: of later rounds, or if convertible."""
    if stage is not Stage.DECODE or arm.prefill is None or arm.decode is None:
        return False
    return arm.decode.append_prefill != "remote" or arm.decode.convertible is not None


def refuse_cards(
    key: str, value: object, rather: str, decode: Profile, prefill: Profile, loc: Loc, source: Source
) -> None:
    """Refuses to compute prompts with a profile of another card, or of a worker of another size."""
    for what, own, other in (
        ("card is", decode.data.card, prefill.data.card),
        ("workers' GPUs are", decode.gpus, prefill.gpus),
    ):
        if own != other:
            must = f"must be {rather}: prompts would take prefill's times, and its {what} {other}, not {own}"
            refuse(key, value, must, loc, source)
