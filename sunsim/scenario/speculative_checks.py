"""Drafts: what their block asks of the rest of a scenario, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from sunsim.document.source import Loc, Source, refuse
from sunsim.latency.drafts import DraftFamily, drafts_file
from sunsim.latency.profile import Profile, profiles_root
from sunsim.roles import Stage
from sunsim.scenario.blocks import ArmBlock, Document
from sunsim.scenario.named import refuse_unknown
from sunsim.scenario.pools import ADAPTIVE, DecodeBlock, PoolBlock
from sunsim.scenario.speculative import AcceptanceBlock, SpeculativeConfig

KEY = "speculative_config"

B = TypeVar("B", bound=AcceptanceBlock)


def family_of(
    arm: ArmBlock, stage: Stage, profile: Profile, loc: Loc, document: Document, source: Source
) -> DraftFamily | None:
    """The profiles that the steps of a stage with drafts come from; None of one without.

    Args:
        profile: that the block names.
        loc: where the block stands.

    Raises:
        InputError: the block of the drafts does not go together with the rest, or no step with drafts was measured.
    """
    pool = arm.pools()[stage]
    config = pool.speculative_config
    if profile.drafts and stage is not Stage.PREFILL:
        must = f"must be the one without drafts, and {KEY} say how many: {profile.name} has {profile.drafts}"
        refuse("profile", pool.profile, must, loc, source)
    if config is None:
        return None
    for instead in _elsewhere(arm, stage, pool, profile):
        refuse(KEY, "given", f"must be left out{instead}", loc, source)
    place = (*loc, KEY)
    _refuse_rates(config, document, place, source)
    _refuse_ranges(config, place, source)
    family = DraftFamily.of(profile, config.method, config.num_speculative_tokens)
    if not family:
        asked = config.num_speculative_tokens
        file = drafts_file(profile.path, config.method, asked)
        how = f"python -m profiler measure --speculative {config.method} --num-speculative-tokens {asked}"
        must = f"must be left out, or there must be a profile with drafts, {file}: {how} measures one"
        if profile.path.is_relative_to(profiles_root()):
            own = drafts_file(Path("my.json"), config.method, asked)
            must = (
                f"must be left out, or there must be a profile with drafts beside the one named, and none is shipped of "
                f"{profile.name}: measure your own, or copy {profile.path} to my.json and name that here; "
                f"{how} --out {own} measures one beside it"
            )
        refuse(KEY, "given", must, loc, source)
    return family


def _elsewhere(arm: ArmBlock, stage: Stage, pool: PoolBlock, profile: Profile) -> Iterator[str]:
    """What of a stage and its arm does not go with drafts: what else would mend it, and why."""
    if stage is Stage.PREFILL:
        yield ": prefill workers decode nothing"
    if profile.adapters:
        yield f": no steps of adapters with drafts were measured ({profile.name})"
    if pool.router in ADAPTIVE:
        yield f", or router be another than {pool.router}: it reckons with a token a step"
    if arm.admission:
        yield ", or admission be: it reckons with a token a step"
    if isinstance(pool, DecodeBlock) and pool.convertible:
        yield ", or convertible be: both together are not simulated"


def _refuse_rates(config: SpeculativeConfig, document: Document, place: Loc, source: Source) -> None:
    drafts = config.num_speculative_tokens
    for loc, block in _acceptances(config, place):
        rates, length = block.synthetic_acceptance_rates, block.synthetic_acceptance_length
        if rates is not None and len(rates) != drafts:
            must = f"must have {drafts}, one for each of num_speculative_tokens"
            refuse("synthetic_acceptance_rates", f"{len(rates)} numbers", must, loc, source)
        if rates and (rising := next((each for each in pairwise(rates) if each[1] > each[0]), None)):
            must = "must not rise: entry i is the share of drafts whose first i + 1 tokens are all accepted"
            refuse("synthetic_acceptance_rates", f"{rising[0]:g} and then {rising[1]:g}", must, loc, source)
        if length is not None and length > drafts + 1:
            must = f"must be at most {drafts + 1}: num_speculative_tokens and one more"
            refuse("synthetic_acceptance_length", f"{length:g}", must, loc, source)
    for name in config.models:
        refuse_unknown(name, (*place, "models"), document, source)
    for i, (before, after) in enumerate(pairwise(config.contexts), 1):
        if after.from_tokens <= before.from_tokens:
            must = f"must be more than that of the entry before ({before.from_tokens})"
            refuse("from_tokens", after.from_tokens, must, (*place, "contexts", i), source)


def _acceptances(config: SpeculativeConfig, place: Loc) -> list[tuple[Loc, AcceptanceBlock]]:
    """All that a block says of how many drafts are accepted, with where it says so."""
    return [
        (place, config),
        *(((*place, "models", name), block) for name, block in config.models.items()),
        *(((*place, "contexts", i), block) for i, block in enumerate(config.contexts)),
    ]


def _refuse_ranges(config: SpeculativeConfig, place: Loc, source: Source) -> None:
    last, most = 0, config.num_speculative_tokens
    for i, (first, to, drafts) in enumerate(config.num_speculative_tokens_per_batch_size or ()):
        must = ""
        if not last and first != 1:
            must = "must begin with 1, so that every batch has a number"
        elif first <= last:
            must = f"must begin after {last}, where the range before it ends"
        elif to < first:
            must = f"must end with {first} or more"
        elif drafts > most:
            must = f"must have at most num_speculative_tokens ({most})"
        if must:
            entry = (*place, "num_speculative_tokens_per_batch_size", i)
            raise source.error(entry, f"{source.path(entry)} is [{first}, {to}, {drafts}], {must}")
        last = to


def completed_drafts(pool: PoolBlock, options: Mapping[str, int], loc: Loc, source: Source) -> SpeculativeConfig | None:
    """The block with rates wherever it states a length.

    Args:
        options: of the stage's workers, as completed.
        loc: where the block of the stage stands.

    Raises:
        InputError: a step of as many requests as the workers take has more tokens than they compute.
    """
    config = pool.speculative_config
    if config is None:
        return None
    drafts, seqs, batched = config.num_speculative_tokens, options["max_num_seqs"], options["max_num_batched_tokens"]
    if (drafts + 1) * seqs > batched:
        most = batched // seqs - 1
        bound = f"at most {most}" if most > 0 else "with fewer requests"
        must = f"must be {bound}: {seqs} requests (max_num_seqs) of these and one more are to be within max_num_batched_tokens ({batched})"
        refuse(f"{KEY}.num_speculative_tokens", drafts, must, loc, source)
    models = {name: _with_rates(block, drafts) for name, block in config.models.items()}
    contexts = tuple(_with_rates(block, drafts) for block in config.contexts)
    return _with_rates(config, drafts).model_copy(update={"models": models, "contexts": contexts})


def _with_rates(block: B, drafts: int) -> B:
    return block.model_copy(
        update={"synthetic_acceptance_rates": block.rates(drafts), "synthetic_acceptance_length": None}
    )
