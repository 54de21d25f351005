"""Small cases for vLLM's own scheduler: the worker, what its steps take, and the requests that come; see `vllm_decisions`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

ARRIVED, RETURNING = "ArrivedKVConnector", "ReturningKVConnector"
# Seeds of short and varied cases.
DRAWN = [1, 2, 3, 8, 13, 19, 32, 63, 104, 149, 167, 222, 256, 283, 304, 343, 402, 486, 597, 786, 925, 993]


@dataclass(frozen=True)
class Worker:
    """Options of a worker, under vLLM's names."""

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    block_size: int = 16
    connector: str | None = None


@dataclass(frozen=True)
class Times:
    """A step takes `base`, and so much for each decode, each token of their contexts, and each token of its chunks.

    The host needs `launch` for a step with chunks, and `graph_launch` for decodes with nothing in flight; the device
    can start such a step `lead` after the decision.
    """

    base: int = 10_000
    decode: int = 100
    context: int = 1
    token: int = 50
    launch: int = 0
    graph_launch: int = 0
    lead: int = 0


Arrival = tuple[int, int, int, int]
"""When, prompt tokens, output tokens, and whether the prompt's KV has arrived with it."""


@dataclass(frozen=True)
class Case:
    name: str
    worker: Worker
    times: Times
    requests: list[Arrival]


def arrivals(
    seed: int, number: int, gap: int, prompts: tuple[int, int], outputs: tuple[int, int], arrived: float = 0.0
) -> list[Arrival]:
    """Random requests; half of them come with the one before, the others up to `gap` later."""
    draw = random.Random(seed)
    requests: list[Arrival] = []
    now = 0
    for _ in range(number):
        now += draw.choice([0, draw.randint(0, gap)])
        requests.append((now, draw.randint(*prompts), draw.randint(*outputs), int(draw.random() < arrived)))
    return requests


def drawn(seed: int) -> Case:
    """A random worker, scarce in every way that its requests can bear, and random requests."""
    draw = random.Random(seed)
    block_size = draw.choice([1, 2, 4, 16, 16])
    longest_prompt, longest_output = draw.choice([5, 40, 100]), draw.choice([1, 3, 15, 30])
    seqs = draw.randint(1, 8)
    connector = draw.choice([None, ARRIVED, ARRIVED, RETURNING])
    need = -(-(longest_prompt + longest_output) // block_size)
    worker = Worker(
        max_num_seqs=seqs,
        max_num_batched_tokens=draw.randint(seqs, draw.choice([8, 64, 256])),
        num_gpu_blocks=1 + need + int(need * draw.choice([0.0, draw.random(), 4 * draw.random()])),
        block_size=block_size,
        connector=connector,
    )
    launches = [0, 500, 9_000, 40_000] if draw.random() < 0.5 else [0]
    times = Times(
        base=draw.choice([100, 10_000]),
        token=draw.choice([0, 50, 997]),
        launch=draw.choice(launches),
        graph_launch=draw.choice(launches),
        lead=draw.choice(launches[:3]),
    )
    gap = draw.choice([0, 3_000, 30_000, 200_000])
    arrived = draw.choice([0.5, 1.0, 1.0]) if connector else 0.0
    requests = arrivals(seed, draw.randint(1, 25), gap, (1, longest_prompt), (1, longest_output), arrived)
    if draw.random() < 0.3:  # everything falls on ticks, so that many things come at one moment
        times = Times(2_000, 0, 0, 0, *(part // 500 * 500 for part in (times.launch, times.graph_launch, times.lead)))
        requests = [(at // 1_000 * 1_000, prompt, output, kv) for at, prompt, output, kv in requests]
    return Case(f"drawn {seed}", worker, times, requests)


def cases() -> Iterator[Case]:
    """All that is recorded."""
    roomy = Worker(max_num_seqs=8, max_num_batched_tokens=128, num_gpu_blocks=400)
    decoder = replace(roomy, connector=ARRIVED)
    plain, slow_host = Times(), Times(launch=9_000, graph_launch=4_000, lead=3_000)
    slower_than_device = replace(slow_host, launch=60_000)
    ticks = Times(base=1_000, decode=0, context=0, token=0)
    prompts = arrivals(1, 24, 20_000, (1, 400), (1, 1))
    yield Case("prompts in chunks", roomy, plain, prompts)
    yield Case("prompts in chunks, launches shown", roomy, slow_host, prompts)
    yield Case("prompts in chunks, launches longer than steps", roomy, slower_than_device, prompts)
    yield Case("prompts wait for blocks", replace(roomy, num_gpu_blocks=30), plain, prompts)
    mixed = arrivals(2, 20, 60_000, (1, 300), (1, 25))
    yield Case("chunks beside decodes", roomy, plain, mixed)
    yield Case("chunks beside decodes, launches shown", roomy, slow_host, mixed)
    yield Case("chunks beside decodes, launches longer than steps", roomy, slower_than_device, mixed)
    scanty = replace(decoder, max_num_batched_tokens=9)
    yield Case("chunks of what decodes leave", scanty, plain, arrivals(6, 16, 60_000, (1, 50), (1, 25), 0.5))
    decodes = arrivals(3, 24, 60_000, (1, 300), (1, 25), 1.0)
    yield Case("decodes wait for places", replace(decoder, max_num_seqs=4), plain, decodes)
    yield Case("decodes wait for places, launches shown", replace(decoder, max_num_seqs=4), slow_host, decodes)
    long = arrivals(4, 14, 30_000, (20, 100), (10, 60))
    yield Case("preemption on an ordinary worker", replace(roomy, num_gpu_blocks=24), plain, long)
    yield Case("preemption on an ordinary worker, launches shown", replace(roomy, num_gpu_blocks=24), slow_host, long)
    given = [(at, prompt, output, 1) for at, prompt, output, _ in long]
    tight = replace(decoder, num_gpu_blocks=24)
    yield Case("preemption of many where KV arrives", tight, plain, given)
    yield Case("preemption of many where KV arrives, launches shown", tight, slow_host, given)
    yield Case("preemption where KV arrives again", replace(tight, connector=RETURNING), plain, given)
    burst = [(at, 40, output, 1) for at in (0, 0, 50_000) for output in (1, 2, 3, 10)]
    yield Case("bursts", decoder, plain, burst)
    yield Case("bursts, launches shown", decoder, slow_host, burst)
    yield Case("one token each", replace(decoder, max_num_seqs=3), plain, arrivals(5, 30, 20_000, (1, 50), (1, 1), 1.0))
    one_by_one = [(at, 40, 1 + at % 3_000 // 1_000, at // 1_000 % 2) for at in range(0, 30_000, 1_000)]
    yield Case("arrivals when outputs come", decoder, ticks, one_by_one)
    yield from map(drawn, DRAWN)
