"""Decode workers that take whole requests: what their keys ask of the rest of a scenario, and what they leave out."""

from collections.abc import Mapping

from sunsim.clock import PS_PER_MS, PS_PER_S
from sunsim.document.source import Loc, Source, refuse
from sunsim.latency.chunk import largest_chunk
from sunsim.latency.profile import Profile
from sunsim.latency.velocity import decode_batch
from sunsim.scenario.arms import Arm
from sunsim.scenario.blocks import ArmBlock, Document
from sunsim.scenario.memory import Beside, blocks_beside, refuse_blocks
from sunsim.scenario.pools import Convertible
from sunsim.scenario.scaling import Bounds
from sunsim.scenario.scenario import Scenario
from sunsim.scenario.sizes import Workers

PLANNED_SHARE = 0.5
"""Of the TPOT limit that the decodes of a convertible worker are planned to take alone; the rest is for chunks. Assumed."""
WAIT_SHARE = 0.5
"""Of the TTFT limit that prefill may be behind before requests go elsewhere. Assumed."""


def convertible_of(
    arm: ArmBlock,
    profile: Profile,
    beside: Beside,
    options: Mapping[str, int],
    workers: Workers,
    document: Document,
    loc: Loc,
    source: Source,
) -> Convertible | None:
    """The block of an arm's decode stage with what it leaves out filled in, but for a chunk of ``auto``.

    Args:
        profile: of the stage.
        beside: weights that only these workers hold; of an elastic pool all of its workers do.
        options: of the stage's workers, and `workers` how many they are, as completed.
        loc: where the block of the stage stands.

    Raises:
        InputError: it does not go together with the rest.
    """
    pool = arm.decode
    if pool is None or pool.convertible is None:
        return None
    block, place = pool.convertible, (*loc, "convertible")
    if arm.prefill is None:
        refuse("convertible", "given", "must be left out: without prefill nothing is computed", loc, source)
    if pool.append_prefill != "remote":
        must = f"must be left out, or append_prefill must be remote: it is {pool.append_prefill}"
        refuse("convertible", "given", f"{must}, so all decode workers compute prompts", loc, source)
    numbers = workers.values() if isinstance(workers, dict) else (workers,)
    most = max(each.max if isinstance(each, Bounds) else each for each in numbers)
    if block.workers > most:
        refuse("workers", block.workers, f"must be at most {most}, as many as a pool has", place, source)
    batched = options["max_num_batched_tokens"]
    if block.max_chunk_tokens != "auto" and block.max_chunk_tokens > batched:
        must = f"must be at most max_num_batched_tokens ({batched})"
        refuse("max_chunk_tokens", block.max_chunk_tokens, must, place, source)
    names, slo = document.model_names, document.slo
    if block.max_chunk_tokens == "auto" and slo.strictest("tpot_ms", names) is None:
        refuse("max_chunk_tokens", "auto", "must be a number, or slo must have tpot_ms", place, source)
    ttft_ms = slo.strictest("ttft_ms", names)
    if block.threshold_s is None and ttft_ms is None:
        raise source.error(place, f"{source.path(place)} lacks threshold_s, must have it, or slo must have ttft_ms")
    threshold_s = block.threshold_s or WAIT_SHARE * (ttft_ms or 0.0) / 1000
    blocks = _blocks(block, profile, beside, options["num_gpu_blocks"], place, source, elastic=pool.scaling is not None)
    return block.model_copy(update={"threshold_s": threshold_s, "num_gpu_blocks": blocks})


def with_chunks(scenario: Scenario, source: Source) -> Scenario:
    """A scenario with a number for each chunk that is ``auto``: the largest with which the TPOT limit still holds.

    Beside it are the decodes that a worker is planned to hold: the largest batch of requests of mean lengths, each in the
    middle of its output, that it has places and blocks for and whose step alone takes at most `PLANNED_SHARE` of the
    limit. The limit is the strictest of the models; the prompt is of mean length.

    Raises:
        InputError: not even a chunk of one KV block is within the limit.
    """
    chunks = {index: _chunk(scenario, index, source) for index, arm in enumerate(scenario.arms) if _is_auto(arm)}
    if not chunks:
        return scenario
    blocks = list(scenario.document.arms)
    for index, tokens in chunks.items():
        decode = blocks[index].decode
        assert decode
        assert decode.convertible
        convertible = decode.convertible.model_copy(update={"max_chunk_tokens": tokens})
        decode = decode.model_copy(update={"convertible": convertible})
        blocks[index] = blocks[index].model_copy(update={"decode": decode})
    made = scenario.changed(arms=tuple(blocks))
    # A trace is long to read, and rests on no chunk.
    kept = ("limits", "trace", "mix")
    made.__dict__.update({name: found for name, found in scenario.__dict__.items() if name in kept})
    return made


def _is_auto(arm: Arm) -> bool:
    decode = arm.block.decode
    return bool(decode and decode.convertible and decode.convertible.max_chunk_tokens == "auto")


def _chunk(scenario: Scenario, index: int, source: Source) -> int:
    arm = scenario.arms[index]
    decode = arm.decode
    limit_ms = scenario.slo.strictest("tpot_ms", scenario.model_names)
    assert decode
    assert decode.convertible
    assert decode.convertible.num_gpu_blocks
    assert limit_ms
    prompt, output = decode.mean_prompt, decode.mean_output
    size, blocks = decode.profile.block_size, decode.convertible.num_gpu_blocks
    planned_s = PLANNED_SHARE * limit_ms * PS_PER_MS / PS_PER_S
    batch = decode_batch(decode.times, prompt, output, decode.max_num_seqs, blocks, size, planned_s)
    times = arm.times_with_prompts
    context, room = round(batch * (prompt + output / 2)), decode.max_num_batched_tokens - batch
    tokens, smallest_ps = largest_chunk(times, batch, context, round(prompt), size, room, round(limit_ms * PS_PER_MS))
    if not tokens:
        place: Loc = ("arms", index, "decode", "convertible")
        step = f"a step of {batch} decodes and {size} prompt tokens takes {smallest_ps / PS_PER_MS:.3g} ms"
        must = f"must be a number, or slo.tpot_ms longer than {limit_ms:g}: {step}"
        if room < size:
            must = f"must be a number, or max_num_batched_tokens larger: {batch} decodes leave no room for a block"
        refuse("max_chunk_tokens", "auto", must, place, source)
    return tokens


def _blocks(
    block: Convertible, profile: Profile, beside: Beside, others: int, place: Loc, source: Source, *, elastic: bool
) -> int:
    """KV blocks of a convertible worker, where the `others` of its pool have so many."""
    if elastic:
        if block.num_gpu_blocks not in (None, others):
            must = f"must be {others}, as many as all workers have: in an elastic pool any may be convertible"
            refuse("num_gpu_blocks", block.num_gpu_blocks, must, place, source)
        return others
    refuse_blocks(block.num_gpu_blocks, profile, beside, place, source)
    if block.num_gpu_blocks or not beside.bytes_:
        return block.num_gpu_blocks or others
    return min(others, blocks_beside(profile, beside, place[:-1], source))
