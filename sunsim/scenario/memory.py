"""Whether what a worker of a scenario is to hold fits into its card's memory, and what is left for KV blocks."""

from collections.abc import Mapping
from typing import NamedTuple

from sunsim.document.source import Loc, Source
from sunsim.latency.profile import Profile
from sunsim.roles import Stage
from sunsim.scenario.blocks import ArmBlock, Document
from sunsim.scenario.pools import PoolBlock
from sunsim.scenario.rounds import prefill_modules, refuse_cards
from sunsim.scenario.worker_pool import OPTIONS


class Beside(NamedTuple):
    """Weights on a worker's card beside those of one model.

    Attributes:
        bytes_: of them, on each GPU.
        key: of the block, that asks for them; `what` it says, and what would need less of them is `rather`.
    """

    bytes_: int = 0
    key: str = ""
    what: str = ""
    rather: str = ""


def beside_of(
    arm: ArmBlock, stage: Stage, profiles: Mapping[Stage, Profile], document: Document, loc: Loc, source: Source
) -> Beside:
    """What the workers of a stage of an arm hold beside one model's weights.

    Args:
        profiles: of the stage, and of prefill where there is such a stage.
        loc: where the stage's block stands.

    Raises:
        InputError: prompts are to be computed there with a profile of another card.
    """
    profile, models = profiles[stage], len(document.model_names)
    if (modules := prefill_modules(arm, stage, models, profiles)) and arm.decode:
        prefill, convertible = profiles[Stage.PREFILL], arm.decode.convertible
        key, where, rather = "append_prefill", str(arm.decode.append_prefill), "remote"
        if convertible:
            key, where, rather = "convertible", "given", "left out"
        refuse_cards(key, where, rather, profile, prefill, loc, source)
        what = f"{where}, but the weights of {modules} prefill modules do not fit beside decode's"
        return Beside(modules * prefill.weight_bytes, key, what, rather)
    own = stage is Stage.PREFILL and not profile.adapters and arm.prefill and arm.prefill.module == "own"
    if own and arm.pools()[stage].policy == "shared":
        what = f"shared, but the weights of {models} models do not fit"
        return Beside((models - 1) * profile.weight_bytes, "policy", what, "isolated")
    return Beside()


def options_of(pool: PoolBlock, profile: Profile, beside: Beside, loc: Loc, source: Source) -> dict[str, int]:
    """A worker's options, the profile's where the file gives none.

    Args:
        beside: what is on its card beside one model's weights.

    Raises:
        InputError: that does not fit, or the KV blocks that the file asks for don't, or options contradict each other.
    """
    room = blocks_beside(profile, beside, loc, source) if beside.bytes_ else profile.num_gpu_blocks
    refuse_blocks(pool.num_gpu_blocks, profile, beside, loc, source)
    options = {option: getattr(pool, option) or getattr(profile, option) for option in OPTIONS}
    options["num_gpu_blocks"] = pool.num_gpu_blocks or room
    seqs, batched = options["max_num_seqs"], options["max_num_batched_tokens"]
    if batched < seqs:
        given = (*loc, "max_num_batched_tokens" if pool.max_num_batched_tokens else "max_num_seqs")
        where = f"{source.path(loc)}.max_num_batched_tokens"
        raise source.error(given, f"{where} is {batched}, must be at least max_num_seqs ({seqs}), as vLLM has it")
    return options


def refuse_blocks(given: int | None, profile: Profile, beside: Beside, loc: Loc, source: Source) -> None:
    """Refuses more KV blocks than the card's memory holds; None are not given by the block that stands at `loc`."""
    most = max(profile.most_blocks(beside.bytes_), 0 if beside.bytes_ else profile.num_gpu_blocks)
    if given is not None and given > most:
        place = (*loc, "num_gpu_blocks")
        message = f"{source.path(place)} is {given}, must be at most {most}: more do not fit beside"
        raise source.error(
            place, f"{message} the weights in the memory of {profile.data.card} ({profile.memory_bytes / 1e9:.1f} GB)"
        )


def blocks_beside(profile: Profile, beside: Beside, loc: Loc, source: Source) -> int:
    """How many are left of those that the profile's own engine had."""
    block = profile.block_size * profile.kv_bytes_per_token
    room = profile.num_gpu_blocks * block
    blocks = (room - beside.bytes_) // block
    if blocks < 2:
        place = (*loc, beside.key)
        message = f"{source.path(place)} is {beside.what} on one GPU of {profile.name}"
        needed = f"({beside.bytes_ / 1e9:.1f} GB more than one model's, {room / 1e9:.1f} GB are free)"
        raise source.error(place, f"{message} {needed}, must be {beside.rather} or serve fewer models")
    return blocks
