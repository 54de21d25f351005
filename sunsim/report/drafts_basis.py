"""What is derived and assumed of arms whose requests have drafts (speculative decoding); arms where it is alike are named together."""

from collections.abc import Iterator

from sunsim.report.format import counted, listed, of_arms
from sunsim.scenario import Arm, Pool, Scenario
from sunsim.scenario.drafts import Drafting

BY_BATCH = (
    "what vLLM 0.24 does is slower, often slower than without drafts: where it chooses the number of drafts by the batch it "
    "loses its full CUDA graphs, and steps took 1.1 to 2.5 times as long as simulated on an H200"
)
"""Of ``python -m benchmarks.drafts.by_batch``."""


def derived_of_drafts(scenario: Scenario) -> list[str]:
    """What was not measured with as many drafts as a step has."""
    return of_arms(
        (
            f"steps with {counted(drafts, 'draft')} a request from those with {listed([str(k) for k, _ in parts])}",
            arm.name,
        )
        for arm, _, drafting in _drafting(scenario)
        for drafts in drafting.config.numbers
        if len(parts := drafting.family.parts(drafts)) > 1
    )


def beyond_measured(scenario: Scenario) -> list[str]:
    """Arms whose steps may have more drafts than were measured at most, whose times are extrapolated."""
    return of_arms(
        (
            f"steps with {counted(drafts, 'draft')} a request are extrapolated: at most {drafting.family.measured[-1]} were measured",
            arm.name,
        )
        for arm, _, drafting in _drafting(scenario)
        for drafts in drafting.config.numbers
        if drafts > drafting.family.measured[-1]
    )


def bounds_of_drafts(scenario: Scenario) -> list[str]:
    """Where no engine is as fast as what is simulated."""
    chosen = [
        arm.name for arm, _, drafting in _drafting(scenario) if drafting.config.num_speculative_tokens_per_batch_size
    ]
    return [f"speeds of {listed(chosen)}; {BY_BATCH}"] if chosen else []


def assumed_of_drafts(scenario: Scenario) -> list[str]:
    """Who drafts, how many drafts are accepted, and what costs nothing."""
    facts = []
    for arm, pool, drafting in _drafting(scenario):
        facts.append((_accepted(drafting), arm.name))
        if drafter := drafter_of(pool, len(scenario.model_names)):
            facts.append((drafter, arm.name))
        if arm.prefill and drafting.lookahead and not arm.prefill.profile.drafts:
            facts.append(("prefill makes the drafter's KV of a prompt in no time and room", arm.name))
    return of_arms(facts)


def drafter_of(pool: Pool, models: int) -> str:
    """How many drafters so many models need; empty where the text so far is the drafter, or none drafts."""
    if not pool.drafting or not pool.drafting.lookahead:
        return ""
    if pool.module.only_decodes and pool.shared:
        return "a drafter for the shared decoder"
    return "a drafter a model" if models > 1 else "a drafter"


def _accepted(drafting: Drafting) -> str:
    config = drafting.config
    first = counted(config.num_speculative_tokens, "draft")
    rates = ", ".join(f"{rate:.3g}" for rate in config.rates(config.num_speculative_tokens))
    facts = [f"the first to the last of {first} a step accepted in {rates} of all"]
    if config.num_speculative_tokens == 1:
        facts = [f"a draft a step accepted in {rates} of all"]
    facts += [f"others of {counted(len(config.models), 'model')}"] if config.models else []
    facts += [f"others from {config.contexts[0].from_tokens} tokens of a request on"] if config.contexts else []
    return f"{', '.join(facts)}, {'drawn' if config.acceptance == 'drawn' else 'as many steps as expected'}"


def _drafting(scenario: Scenario) -> Iterator[tuple[Arm, Pool, Drafting]]:
    for arm in scenario.arms:
        for pool in arm.pools().values():
            if pool.drafting:
                yield arm, pool, pool.drafting
