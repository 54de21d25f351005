"""What a prefix cache finds, in closed form, and that it neither loses nor makes up a block."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.drafting.blocks import BurstBlocks
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.prefix_cache import Block, CachingBlocks
from sunsim.cluster.sequence import KV, Sequence
from sunsim.workload.sessions import UNKNOWN
from tests.cluster.plain_blocks import TextKeys
from tests.cluster.test_drafting_twin import drafting_talks
from tests.cluster.test_engine_twin import PHASES, play
from tests.cluster.test_prefix_twin import Talk, talks, unheld_keys
from tests.cluster.texts import Texts
from tests.cluster.worlds import Steps
from tests.cluster.worlds import play as play_on

LATER = 10**12


def caching(texts: Texts, models: list[int] | None = None, blocks: int = 1000, **options: Any) -> Engine:
    """A worker whose steps take a second, and a second more for each token of a prompt."""
    config = EngineConfig(8, 8192, blocks, enable_prefix_caching=True, **options)
    return Engine(config, Steps(base=1, token=1), keys=BlockKeys(texts.sessions(), 16, models))


def one_after_the_other(engine: Engine, texts: Texts, model: int = 0) -> list[Sequence]:
    """Serves the requests, each after the one before is done."""
    sequences = []
    for i, (prompt, answer) in enumerate(zip(texts.prompt, texts.answer, strict=True)):
        tokens = texts.end[prompt]
        sequences.append(Sequence(i, i * model, tokens, texts.end[answer] - tokens, KV.COMPUTE))
    play_on(engine, [(LATER * i, sequence) for i, sequence in enumerate(sequences)])
    return sequences


@given(tokens=st.integers(1, 3000), again=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_prompt_again_is_found_but_for_its_last_token(tokens: int, again: int) -> None:
    texts = Texts.grown([tokens], [(0, 0)] * (1 + again), [3] * (1 + again))
    engine = caching(texts)
    first, *others = one_after_the_other(engine, texts)
    found = (tokens - 1) // 16 * 16
    assert first.cached_tokens == 0
    assert [sequence.cached_tokens for sequence in others] == [found] * again
    assert engine.blocks.hits / engine.blocks.queries == pytest.approx(again * found / ((1 + again) * tokens))
    # Only what is not found takes time; one token alone takes a step of decodes.
    assert first.first_ps == 1 + tokens * (tokens > 1)
    for i, sequence in enumerate(others, 1):
        lacking = tokens - found
        assert sequence.first_ps == LATER * i + 1 + lacking * (lacking > 1)


@pytest.mark.parametrize("output", [1, 2, 15, 16, 17, 40])
def test_the_next_round_finds_the_answer_but_for_its_last_token(output: int) -> None:
    texts = Texts.grown([], [(UNKNOWN, 50), (1, 30)], [output, 5])
    _, following = one_after_the_other(caching(texts), texts)
    assert following.cached_tokens == (50 + output - 1) // 16 * 16


@pytest.mark.parametrize("output", [1, 40])
def test_answers_that_must_not_be_reused_are_not_found(output: int) -> None:
    texts = Texts.grown([], [(UNKNOWN, 50), (1, 30), (1, 30)], [output, 5, 5])
    _, following, branch = one_after_the_other(caching(texts, reuse_answers=False), texts)
    assert following.cached_tokens == 48
    # As part of a prompt it is, once that has been computed.
    assert branch.cached_tokens == (50 + output) // 16 * 16


def test_models_find_each_others_blocks_only_where_they_share_them() -> None:
    texts = Texts.grown([100], [(0, 0), (0, 0)], [1, 1])
    assert one_after_the_other(caching(texts), texts, model=1)[1].cached_tokens == 96
    assert one_after_the_other(caching(texts, [0, 1]), texts, model=1)[1].cached_tokens == 0


def test_what_is_found_is_not_pulled() -> None:
    """A prompt with one token out already is all in full blocks: the second time nothing is left to move.

    Whoever prefilled it is asked all the same, but not for a part of a prompt.
    """
    texts = Texts.grown([64], [(0, 0), (0, 0), (0, 10), (0, 10)], [3, 3, 3, 3])
    engine = caching(texts)
    waits = []
    for i, (prompt, held) in enumerate([(64, 64), (64, 64), (74, 74), (74, 64)]):
        now, sequence = LATER * i, Sequence(i, 0, prompt, 2, KV.PULL)
        sequence.known_tokens += 1
        sequence.held_tokens = held
        engine.submit(now, sequence)
        loads = engine.wake(now).loads
        waits.append((sequence.cached_tokens, sequence.moved_tokens, loads == [sequence]))
        if loads:
            engine.loaded(now, sequence)
        while (due := engine.next_wake()) is not None:
            engine.wake(due)
    assert waits == [(0, 64, True), (64, 0, True), (64, 10, True), (64, 0, False)]


def test_pinned_blocks_are_found_and_not_lost() -> None:
    texts = Texts.grown([64], [(0, 0), (UNKNOWN, 80), (0, 0), (UNKNOWN, 144), (0, 0)], [1] * 5)
    engine = caching(texts, blocks=11, pin_finished=True)  # ten to use
    tokens = [texts.end[segment] for segment in texts.prompt]
    pinned, other, again, all_blocks, late = (Sequence(i, 0, n, 1, KV.COMPUTE) for i, n in enumerate(tokens))

    def serve(now: int, sequence: Sequence) -> None:
        engine.submit(now, sequence)
        while (due := engine.next_wake()) is not None:
            engine.wake(due)

    serve(0, pinned)
    serve(LATER, other)
    engine.release(2 * LATER, other)
    serve(3 * LATER, again)
    assert (again.cached_tokens, engine.blocks.unused) == (48, 5)  # of `other` five, `again` took a sixth for its last
    engine.release(4 * LATER, again)
    engine.release(4 * LATER, pinned)
    serve(5 * LATER, all_blocks)
    engine.release(6 * LATER, all_blocks)
    # Nine blocks were taken: all of `other`, then what came free first, its last before its first.
    serve(7 * LATER, late)
    assert late.cached_tokens == 16


@given(talks())
@settings(max_examples=150, deadline=None, phases=PHASES)
def test_keys_are_equal_where_texts_are(talk: Talk) -> None:
    case, texts, shared = talk.case, talk.texts, talk.shared
    size, models = case.config.block_size, [model for _, model, *_ in case.requests]
    keys = BlockKeys(texts.sessions(), size, None if shared else models)
    plain = TextKeys([texts.text(i) for i in range(len(models))], size, [0] * len(models) if shared else models)
    names: dict[int, object] = {}
    for i, text in enumerate(plain.texts):
        for key, name in zip(keys.of(i, len(text)), plain.of(i, len(text)), strict=True):
            assert names.setdefault(key, name) == name
        assert keys.of(i, len(text) // 2) == keys.of(i, len(text))[: len(text) // 2 // size]
    assert len(set(names.values())) == len(names)


@given(talks() | drafting_talks())
@settings(max_examples=250, deadline=None, phases=PHASES)
def test_every_block_is_held_unheld_or_without_a_key(talk: Talk) -> None:
    case, texts = talk.case, talk.texts
    keys = BlockKeys(texts.sessions(), case.config.block_size, None)
    engine, unseen = (Engine(case.config, case.times, case.stalls_ps(), keys) for _ in range(2))
    blocks, capacity = engine.blocks, case.config.num_gpu_blocks - 1
    assert isinstance(blocks, CachingBlocks)

    def look(sequence: Sequence) -> None:
        engine.cached_tokens(sequence)
        holders: Counter[Block] = Counter()
        for held in (chain.blocks for chain in blocks._chains.values()):
            assert len(set(held)) == len(held)
            holders.update(held)
        after = blocks._after_chains if isinstance(blocks, BurstBlocks) else []
        for _, later in blocks._later_chains + after:
            holders.update(later)
        assert all(block.holders == n for block, n in holders.items())
        unheld = unheld_keys(blocks)
        assert len(unheld) <= blocks.unused <= capacity - len(holders)

    assert play(engine, case, look)[:2] == play(unseen, case, lambda _: None)[:2]  # looking changes nothing
    assert blocks.unused == capacity
    assert not any(block.holders for block in blocks._found.values())
    assert len(unheld_keys(blocks)) == len(blocks._found) + sum(map(len, blocks._more.values()))


def test_without_keys_or_without_the_option_nothing_is_found() -> None:
    texts = Texts.grown([64], [(0, 0), (0, 0)], [2, 2])
    keys = BlockKeys(texts.sessions(), 16, None)
    for option, given_keys in ((True, None), (False, keys)):
        config = EngineConfig(8, 8192, 100, enable_prefix_caching=option)
        engine = Engine(config, Steps(base=1, token=1), keys=given_keys)
        assert [sequence.cached_tokens for sequence in one_after_the_other(engine, texts)] == [0, 0]
        assert engine.blocks.queries == engine.blocks.hits == 0
