"""The leaping engine and the step-by-step one agree in every decision and every picosecond."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle
from typing import Protocol

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import KV, Sequence
from sunsim.latency.steps import Chunk, DecodeLine, Outside
from tests.cluster.stepwise import StepwiseEngine


@dataclass(frozen=True)
class Staircase:
    """Step times with steps in batch and kinks in context, so that leaps must stop where they do."""

    base: int
    slope: int
    kink: int
    launch: int
    lead: int
    tail: int
    pause_ps: int
    reading: int = 0

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        piece = context_tokens // self.kink
        outside: Outside | None = "batch" if batch > 3 else "context" if piece % 2 else None
        return DecodeLine(self.base + 7 * (batch // 3), self.slope * (1 + piece % 3), (piece + 1) * self.kink, outside)

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        tokens = sum(5 * c.tokens + c.before for c in chunks)
        return self.base + batch + tokens + self.slope * context_tokens, "tokens" if tokens > 99 else None

    def launch_ps(self, tokens: int, nth: int) -> int:
        return self.launch * (1 + 3 * (tokens > 0) + nth % 3) + (self.launch and tokens)

    def lead_ps(self, tokens: int) -> int:
        return self.lead * (1 + (tokens > 9))

    def tail_ps(self, tokens: int) -> int:
        return self.tail * (tokens > 0)

    def take_in_ps(self, prompt_tokens: int) -> int:
        return self.reading * prompt_tokens


Stamps = tuple[int, ...]
Totals = tuple[int, int, int, dict[Outside, int], DraftCounts | None]


class AnyEngine(Protocol):
    @property
    def preemptions(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def busy_ps(self) -> int: ...
    @property
    def outside(self) -> dict[Outside, int]: ...
    @property
    def num_tokens(self) -> int: ...
    def count_drafts(self) -> DraftCounts | None: ...
    def submit(self, now_ps: int, sequence: Sequence, *, first: bool = False) -> None: ...
    def loaded(self, now_ps: int, sequence: Sequence) -> None: ...
    def release(self, now_ps: int, sequence: Sequence) -> None: ...
    def next_wake(self) -> int | None: ...
    def wake(self, now_ps: int) -> Outcome: ...


@dataclass(frozen=True)
class Case:
    config: EngineConfig
    times: Staircase
    requests: list[tuple[int, int, int, int]]  # gap, model, prompt, output
    kv: list[KV]  # of each request
    delay: int  # of a transfer, of a way back, of a release
    stalls: list[tuple[int, int]]  # gap, length
    held: list[int] | None = None  # of each prompt, the tokens whose KV comes from elsewhere; None: all

    def stalls_ps(self) -> Iterator[tuple[int, int]]:
        """The stalls by the clock, over and over again."""
        now = 0
        for gap, length in cycle(self.stalls):
            now += gap
            yield now, length


def play(
    engine: AnyEngine, case: Case, look: Callable[[Sequence], object]
) -> tuple[list[Stamps], Totals, list[object]]:
    """Runs a case; gives each request's stamps, the worker's totals and what is seen.

    That is who ends in which order, and what `look` gives whenever something comes and at the end.
    """
    order = count()
    events: list[tuple[int, int, str, Sequence]] = []
    sequences = []
    now = 0
    for i, (gap, model, prompt, output) in enumerate(case.requests):
        now += gap
        sequence = Sequence(i, model, prompt, output, case.kv[i])
        if case.held:
            sequence.held_tokens = case.held[i]
        sequences.append(sequence)
        heapq.heappush(events, (now, next(order), "submit", sequence))
    seen: list[object] = []
    for _ in range(20_000):
        due = engine.next_wake()
        if events and (due is None or events[0][0] <= due):
            now, _, kind, sequence = heapq.heappop(events)
            if kind == "submit":
                engine.submit(now, sequence)
            elif kind == "back":
                engine.submit(now, sequence, first=True)
            elif kind == "loaded":
                engine.loaded(now, sequence)
            else:
                engine.release(now, sequence)
            seen.append(look(sequence))
            continue
        if due is None:
            break
        outcome = engine.wake(due)
        if outcome.finished:
            seen.append((due, [sequence.request for sequence in outcome.finished]))
        for kind, some in (("loaded", outcome.loads), ("back", outcome.evicted)):
            for sequence in some:
                heapq.heappush(events, (due + case.delay, next(order), kind, sequence))
        if case.config.pin_finished:
            for sequence in outcome.finished:
                heapq.heappush(events, (due + case.delay, next(order), "release", sequence))
    else:
        pytest.fail("does not come to an end")
    seen.append(look(sequences[0]))
    totals = engine.steps, engine.busy_ps, engine.preemptions, engine.outside, engine.count_drafts()
    return [stamps_of(sequence) for sequence in sequences], totals, seen


def stamps_of(s: Sequence) -> Stamps:
    """When things happened to it, and how often; all that a worker says of it."""
    times = s.scheduled_ps, s.started_ps, s.first_ps, s.last_ps
    return *times, s.preemptions, s.cached_tokens, s.drafts, s.draft_tokens, s.accepted_tokens, s.bursts


PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # shrinking a timeline takes minutes


@st.composite
def cases(draw: st.DrawFn) -> Case:
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    prompts = st.integers(1, 40)
    outputs = st.integers(1, 30)
    max_num_seqs = draw(st.integers(1, 6))
    # The smallest cache that can hold one request of the longest kind, or more.
    blocks = -(-70 // block_size) + 1 + draw(st.integers(0, 60))
    kv = draw(st.sampled_from(list(KV)))
    prefill = kv is KV.COMPUTE and draw(st.booleans())
    config = EngineConfig(
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=draw(st.integers(max_num_seqs, 64)),
        num_gpu_blocks=blocks,
        block_size=block_size,
        recompute=draw(st.booleans()),
        one_model_a_step=prefill or draw(st.booleans()),
        pin_finished=prefill,
        defer_block_free=draw(st.booleans()),
        max_prefill_chunk_tokens=draw(st.none() | st.integers(1, 20)),
    )
    gap = draw(st.sampled_from([1, 50, 400, 3000]))
    requests = draw(
        st.lists(
            st.tuples(st.integers(0, gap), st.integers(0, 1), prompts, st.just(1) if prefill else outputs),
            min_size=1,
            max_size=25,
        )
    )
    times = Staircase(
        base=draw(st.integers(1, 200)),
        slope=draw(st.integers(0, 3)),
        kink=draw(st.integers(1, 100)),
        launch=draw(st.just(0) | st.integers(0, 150)),
        lead=draw(st.just(0) | st.integers(0, 150)),
        tail=draw(st.just(0) | st.integers(0, 150)),
        pause_ps=draw(st.just(0) | st.integers(0, 150)),
        reading=draw(st.just(0) | st.integers(0, 20)),
    )
    # Longer gaps than stalls on the whole, or no step would ever end.
    stalls = draw(st.lists(st.tuples(st.integers(1, 1500), st.integers(0, 900)), max_size=6))
    if sum(gap for gap, _ in stalls) < 2 * sum(length for _, length in stalls):
        stalls.append((2000 * len(stalls), 0))
    kvs = [kv] * len(requests)
    if not prefill and draw(st.booleans()):
        kvs = draw(st.lists(st.sampled_from(list(KV)), min_size=len(requests), max_size=len(requests)))
    return Case(config, times, requests, kvs, draw(st.integers(0, 500)), stalls)


def assert_equal(case: Case) -> None:
    """Both engines take it in the same way, and give all blocks back."""
    leaping = Engine(case.config, case.times, case.stalls_ps())
    stepping = StepwiseEngine(case.config, case.times, case.stalls_ps())
    played = play(leaping, case, lambda _: leaping.num_tokens)
    assert played == play(stepping, case, lambda _: stepping.num_tokens)
    stamps, _, _ = played
    assert all(last >= first >= started >= scheduled >= 0 for scheduled, started, first, last, *_ in stamps)
    assert leaping.blocks.unused == stepping.free_blocks == case.config.num_gpu_blocks - 1


@given(cases())
@settings(max_examples=1000, deadline=None, phases=PHASES)
def test_leaping_equals_stepping(case: Case) -> None:
    assert_equal(case)
