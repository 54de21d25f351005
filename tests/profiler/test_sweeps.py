"""How sweeps of traffic send their requests, on an engine that only keeps count of them."""

# ruff: noqa: ARG002  # the signature is the engine's

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest

from profiler.engine import Engine
from profiler.phases.base import RESERVED_BLOCKS, fitting_batch
from profiler.phases.traffic import LengthLaw, TrafficPlan, traffic
from profiler.recording import RequestStamps, Step
from profiler.settings import EngineSettings

TOKEN_S = 0.002


class Counter:
    """As much of an engine as a sweep needs: an output token takes two milliseconds, whatever the batch."""

    block_size = 16
    launches_drafts_ahead = False

    def __init__(self, num_gpu_blocks: int, max_num_seqs: int = 64) -> None:
        self.num_gpu_blocks = num_gpu_blocks
        self.settings = EngineSettings(max_num_seqs=max_num_seqs)
        self.running = self.held_tokens = 0
        self.most_running = self.most_tokens = 0
        self.sent_s: list[float] = []

    async def request(self, kind: str, prompt: int, output: int, *, streamed: bool) -> RequestStamps:
        now_s = asyncio.get_running_loop().time()
        self.sent_s.append(now_s)
        self.running += 1
        self.held_tokens += prompt + output
        self.most_running = max(self.most_running, self.running)
        self.most_tokens = max(self.most_tokens, self.held_tokens)
        await asyncio.sleep(output * TOKEN_S)
        self.running -= 1
        self.held_tokens -= prompt + output
        return RequestStamps("x", kind, prompt, output, now_s)

    async def settle(self) -> None:
        """Nothing is left."""

    def drain_steps(self) -> list[Step]:
        return []


def swept(counter: Counter, **plan: Any) -> Counter:
    usual = TrafficPlan("x", (LengthLaw(500, 0.8, 16, 4000),), LengthLaw(20, 0.5, 4, 60), ramp_s=0.4)
    asyncio.run(traffic(cast("Engine", counter), replace(usual, **plan)))
    assert counter.running == 0
    return counter


def test_a_sweep_reaches_what_it_is_to_and_no_more() -> None:
    assert swept(Counter(100_000), largest=20).most_running in {18, 19, 20}
    assert 58 <= swept(Counter(100_000)).most_running <= 64


def test_all_that_run_always_have_room_for_all_that_they_will_hold() -> None:
    counter = Counter(RESERVED_BLOCKS + 1000)
    room = fitting_batch(cast("Engine", counter), 64, 700)
    assert 4 < room < 40
    swept(counter)
    assert 0.5 * 16_000 < counter.most_tokens <= 16_000


@pytest.mark.parametrize(("refill_s", "moments"), [(0.005, range(60, 300)), (0.2, range(4, 14))])
def test_a_long_time_to_refill_makes_bursts(refill_s: float, moments: range) -> None:
    sent_s = swept(Counter(100_000), largest=40, refill_s=refill_s, ramp_s=0.6).sent_s
    assert 1 + sum(after - before > 0.002 for before, after in pairwise(sent_s)) in moments
