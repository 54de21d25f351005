"""A worker with a prefix cache that leaps and one that has its blocks one by one agree in every block."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.engine import Engine
from sunsim.cluster.prefix_cache import CachingBlocks
from sunsim.cluster.sequence import KV, Sequence
from sunsim.workload.sessions import UNKNOWN
from tests.cluster.plain_blocks import TextKeys
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.test_engine_twin import PHASES, Case, cases, play
from tests.cluster.texts import Texts

LONGEST = 70  # of prompt and output


@dataclass(frozen=True)
class Talk:
    """A worker that caches prefixes, requests whose texts begin alike, and whether models share their KV."""

    case: Case
    texts: Texts
    shared: bool


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    """Any."""
    case = draw(cases())
    texts = Texts()
    for length in draw(st.lists(st.integers(1, 30), max_size=2)):
        texts.add(UNKNOWN, length)
    requests, held = [], []
    for gap, model, new, output in case.requests:
        kept = [s for s, end in enumerate(texts.end) if end <= LONGEST - output - 1]
        after = draw(st.sampled_from([UNKNOWN, *kept, *kept[-3:]]))
        room = LONGEST - output - (texts.end[after] if kept and after != UNKNOWN else 0)
        again = after != UNKNOWN and draw(st.booleans())
        prompt = texts.ask(after, 0 if again else min(new, room), output)
        requests.append((gap, model, prompt, output))
        held.append(draw(st.integers(1, prompt)) if draw(st.booleans()) else prompt)
    blocks = min(case.config.num_gpu_blocks, -(-LONGEST // case.config.block_size) + 1 + draw(st.integers(0, 60)))
    config = replace(
        case.config,
        num_gpu_blocks=blocks,
        enable_prefix_caching=True,
        reuse_answers=draw(st.booleans()),
        use_eagle=draw(st.booleans()),
    )
    return Talk(replace(case, config=config, requests=requests, held=held), texts, draw(st.booleans()))


@given(talks())
@settings(max_examples=400, deadline=None, phases=PHASES)
def test_leaping_equals_stepping(talk: Talk) -> None:
    assert_equal_blocks(talk)


def assert_equal_blocks(talk: Talk) -> None:
    """Both engines take it in the same way, and have the same blocks all the time."""
    case, texts, shared = talk.case, talk.texts, talk.shared
    size, models = case.config.block_size, [model for _, model, *_ in case.requests]
    keys = BlockKeys(texts.sessions(), size, None if shared else models)
    tokens = [texts.text(i) for i in range(len(models))]
    leaping = Engine(case.config, case.times, case.stalls_ps(), keys)
    plain_keys = TextKeys(tokens, size, [0] * len(models) if shared else models)
    stepping = StepwiseEngine(case.config, case.times, case.stalls_ps(), plain_keys)
    named = {key: name for i in range(len(models)) for key, name in pairs(keys, plain_keys, i)}
    blocks = leaping.blocks
    assert isinstance(blocks, CachingBlocks)

    def seen_leaping(sequence: Sequence) -> tuple[object, ...]:
        found = leaping.cached_tokens(anew(sequence))
        unheld = [named[key] for key in unheld_keys(blocks)]
        return leaping.num_tokens, found, blocks.unused, blocks.queries, blocks.hits, unheld

    def seen_stepping(sequence: Sequence) -> tuple[object, ...]:
        pool = stepping.blocks
        found = stepping.cached_tokens(anew(sequence))
        unheld = [key for block in pool.free if (key := pool.key[block]) is not None]
        return stepping.num_tokens, found, len(pool.free), stepping.queries, stepping.hits, unheld

    assert play(leaping, case, seen_leaping) == play(stepping, case, seen_stepping)
    assert blocks.unused == case.config.num_gpu_blocks - 1


def unheld_keys(blocks: CachingBlocks) -> list[int]:
    """Keys of the blocks that nobody holds but that can be found, the next to be lost first."""
    blocks._lose()
    return [block.key for block in blocks._unheld]


def anew(sequence: Sequence) -> Sequence:
    """The same request as it comes to a worker."""
    return Sequence(sequence.request, sequence.model, sequence.prompt_tokens, 1, KV.COMPUTE)


def pairs(keys: BlockKeys, plain: TextKeys, request: int) -> list[tuple[int, object]]:
    """The two names of each block of a request."""
    tokens = len(plain.texts[request])
    return list(zip(keys.of(request, tokens), plain.of(request, tokens), strict=True))
