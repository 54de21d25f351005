"""What a prefix cache finds on a worker that drafts, added up by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.engine import Engine
from sunsim.cluster.sequence import KV, Sequence
from sunsim.workload.sessions import UNKNOWN
from tests.cluster.draft_worlds import DraftSteps
from tests.cluster.test_drafting import ENGINES, drafting
from tests.cluster.texts import Texts
from tests.cluster.worlds import config, play

LATER = 10**9


def caching(
    make: type[Engine],
    texts: Texts,
    rates: list[float],
    *,
    eagle: bool = True,
    blocks: int = 10_000,
    by_batch: tuple[int, ...] | None = None,
) -> Engine:
    """A worker with blocks of four tokens. A step takes 10, 1 for each draft in it, and 1 for each token of a prompt."""
    drafts = drafting(rates, by_batch, lookahead=len(rates) if eagle else 0)
    own = config(block_size=4, num_gpu_blocks=blocks, enable_prefix_caching=True, use_eagle=eagle, drafts=drafts)
    keys = BlockKeys(texts.sessions(), 4, None)
    return make(own, DraftSteps(10, draft=1, token=1), keys=keys)


def rounds(texts: Texts) -> list[Sequence]:
    return [
        Sequence(i, 0, texts.end[prompt], texts.end[answer] - texts.end[prompt], KV.COMPUTE)
        for i, (prompt, answer) in enumerate(zip(texts.prompt, texts.answer, strict=True))
    ]


def found_at(engine: Engine, sequence: Sequence, at: int) -> int:
    """Tokens that another request would find there after what is decided at a moment."""
    while (due := engine.next_wake()) is not None and due <= at:
        engine.wake(due)
    engine.advance(at + 1)
    return engine.cached_tokens(sequence)


@ENGINES
@given(tokens=st.integers(1, 60), eagle=st.booleans())
@settings(max_examples=40, deadline=None)
def test_of_what_a_drafter_finds_the_last_block_is_computed_again(make: type[Engine], tokens: int, eagle: bool) -> None:
    texts = Texts.grown([tokens], [(0, 0), (0, 0)], [3, 3])
    first, again = rounds(texts)
    engine = caching(make, texts, [1.0], eagle=eagle)
    play(engine, [(0, first), (LATER, again)])
    found = (tokens - 1) // 4 * 4
    if eagle:
        found = max(0, found - 4)
    assert (first.cached_tokens, again.cached_tokens) == (0, found)
    assert again.first_ps == LATER + 10 + tokens - found
    assert (engine.blocks.queries, engine.blocks.hits) == (2 * tokens, found)


@ENGINES
@pytest.mark.parametrize("rate", [0.0, 1.0], ids=["refused", "accepted"])
def test_drafts_are_not_found_before_they_are_out_as_tokens(make: type[Engine], rate: float) -> None:
    texts = Texts.grown([], [(UNKNOWN, 6), (1, 4)], [10, 1])
    request, following = rounds(texts)
    engine = caching(make, texts, [rate, rate], eagle=False)
    engine.submit(0, request)
    # A prompt of 6 until 16, then steps of 12. Of the 16 tokens the last one's KV is never made.
    if rate:
        out = {0: 6, 16: 7, 28: 10, 40: 13, 52: 15}
    else:
        out = {0: 6} | {16 + 12 * step: 7 + step for step in range(9)} | {124: 15}
    assert [found_at(engine, following, at) for at in out] == [tokens // 4 * 4 for tokens in out.values()]


@ENGINES
def test_so_it_is_when_the_number_of_drafts_has_just_changed(make: type[Engine]) -> None:
    texts = Texts.grown([], [(UNKNOWN, 6), (UNKNOWN, 6), (1, 4)], [12, 4, 1])
    long, short, following = rounds(texts)
    engine = caching(make, texts, [1.0, 1.0], eagle=False, by_batch=(2, 0, 2))
    engine.submit(0, long)
    engine.submit(0, short)
    # Steps of two until 22, 36 and, with the short one's ghost, 50. The next one, decided at 36, is the last with drafts.
    assert [found_at(engine, following, at) for at in (22, 36, 50, 62)] == [4, 8, 12, 16]


@ENGINES
def test_who_waits_for_blocks_enters_when_a_decode_has_filled_enough_of_them(make: type[Engine]) -> None:
    texts = Texts.grown([], [(UNKNOWN, 6), (1, 0)], [26, 2])
    request, following = rounds(texts)
    play(caching(make, texts, [1.0], eagle=False, blocks=10), [(0, request), (1, following)])
    # Of the following's eight blocks one is found at 16 and two at 27, when the other holds three of nine for what it drafts.
    assert (following.scheduled_ps, following.started_ps, following.cached_tokens) == (27, 38, 8)
