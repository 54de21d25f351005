"""With drafts, too, the leaping engine and the step-by-step one agree in every decision and every picosecond.

`tests.cluster.test_vllm_draft_decisions` and `test_vllm_prefix_draft_decisions` show that both take vLLM's decisions, where
vLLM has them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.drafting.drafts import Drafts
from sunsim.latency.steps import Chunk, DecodeLine, Outside
from sunsim.workload.acceptance import Acceptance, Rates
from tests.cluster.test_engine_twin import PHASES, Case, Staircase, assert_equal, cases
from tests.cluster.test_prefix_twin import LONGEST, Talk, assert_equal_blocks, talks


@dataclass(frozen=True)
class DraftStaircase(Staircase):
    """As `Staircase`; drafts make steps longer, and move its kinks."""

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        base, slope, limit, outside = self.decode_line(batch, context_tokens)
        return DecodeLine(base + 11 * k * batch, slope * (1 + k % 2), limit, "tokens" if k > 3 else outside)

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        step_ps, outside = self.chunked_step(batch, context_tokens, chunks)
        return step_ps + 13 * k * (1 + batch), outside


@st.composite
def acceptances(draw: st.DrawFn, most: int) -> Acceptance:
    """Of two models, with rates that change with the context, perhaps."""
    rate = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0.0, 1.0)
    rates = st.lists(rate, min_size=most, max_size=most).map(lambda some: tuple(sorted(some, reverse=True)))
    contexts = st.sets(st.integers(1, LONGEST), max_size=3).map(sorted)
    of_models = [[Rates(tokens, draw(rates)) for tokens in [0, *draw(contexts)]] for _ in range(2)]
    return Acceptance(draw(st.integers(0, 99)), of_models, expected=draw(st.booleans()))


@st.composite
def drafting(draw: st.DrawFn, case: Case) -> Case:
    """The same case with drafts; a step has room for all its decodes, the cache for one of the longest requests."""
    most = draw(st.integers(1, 5))
    config = case.config
    by_batch = st.lists(st.integers(0, most), min_size=config.max_num_seqs + 1, max_size=config.max_num_seqs + 1)
    eagle = draw(st.booleans())
    drafts = Drafts(
        num_speculative_tokens=most,
        acceptance=draw(acceptances(most)),
        lookahead=most if eagle else 0,
        by_batch=draw(st.none() | by_batch.map(tuple)),
        max_model_len=LONGEST + 2 * most + draw(st.integers(0, 20)),
    )
    config = replace(
        config,
        drafts=drafts,
        use_eagle=eagle,
        max_num_batched_tokens=max(config.max_num_batched_tokens, config.max_num_seqs * (most + 1)),
        num_gpu_blocks=config.num_gpu_blocks + -(-3 * most // config.block_size),
    )
    return replace(case, config=config, times=DraftStaircase(**vars(case.times)))


@given(cases().flatmap(drafting))
@settings(max_examples=400, deadline=None, phases=PHASES)
def test_leaping_equals_stepping(case: Case) -> None:
    assert_equal(case)


@st.composite
def drafting_talks(draw: st.DrawFn) -> Talk:
    """Drafts beside prefix caching."""
    talk = draw(talks())
    return replace(talk, case=draw(drafting(talk.case)))


@given(drafting_talks())
@settings(max_examples=400, deadline=None, phases=PHASES)
def test_leaping_equals_stepping_with_a_prefix_cache(talk: Talk) -> None:
    assert_equal_blocks(talk)
