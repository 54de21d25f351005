"""Prefill steps, back to back: groups of prompts that fill a step each, and prompts longer than a step."""

import asyncio
from collections.abc import Sequence

from profiler.chunks import idle_starts, prefill_points
from profiler.engine import Engine
from profiler.phases.base import Points, first_token_point, recorded_steps
from profiler.request_ids import Kind, Mark

# Kernels work in tiles of 128 or 256 tokens, so a step's time jumps behind every one. Traffic has any number of tokens;
# lengths at the borders would all be the cheapest of their tiles. From 416 on, steps here have 160 more than a multiple
# of 256: near the middle of a tile of that size, and not at the border of a smaller one.
GRID: dict[int, tuple[int, ...]] = {
    1: (
        *(16, 64, 128, 200, 256, 320, 384, 400, 416, 448, 480, 512),
        *(672, 928, 1184, 1440, 1696, 2208, 3232, 4256, 6304, 8096, 8192, 12192, 16288, 16384),
    ),
    2: (80, 208, 464, 1104, 2128, 4048, 8144),
    4: (104, 232, 552, 1064, 2024),
    8: (52, 116, 276, 532, 1012),
    16: (138, 506),
    32: (253,),
}
QUICK_GRID: dict[int, tuple[int, ...]] = {1: (64, 512), 4: (128,)}


async def groups(engine: Engine, grid: dict[int, tuple[int, ...]], repeats: int) -> Points:
    """Every (prompts, tokens) of the grid in one queue, so that the engine always has its next step at hand.

    The budget in each id keeps the scheduler from putting two groups into one step.
    """
    engine.drain_steps()
    # Long groups vary little and take long.
    shapes = [
        (prompts, tokens)
        for prompts, lengths in grid.items()
        for tokens in lengths
        for _ in range(repeats if prompts * tokens <= 4096 else max(1, repeats * 5 // 8))
    ]
    # The first group waits for all others: taking requests in would disturb the steps.
    sizes = [prompts for prompts, _ in shapes]
    sizes[0] = sum(sizes)
    tasks = []
    for (prompts, tokens), size in zip(shapes, sizes, strict=True):
        mark = Mark(engine.new_group(), size, budget_tokens=prompts * tokens)
        tasks += [engine.request("prefill", tokens, 1, mark=mark) for _ in range(prompts)]
    await asyncio.gather(*tasks)
    await engine.settle()
    return {"prefill_points": prefill_points(recorded_steps(engine))}


def best_tokens_per_s(points: Points) -> float:
    """The most tokens a second that any of the groups' steps computed."""
    best: float = max(point["new_tokens"] / point["step_ms_median"] for point in points["prefill_points"])
    return best * 1e3


async def long_prompts(engine: Engine, lengths: tuple[int, ...], repeats: int) -> Points:
    """Prompts over the token budget, one at a time: their later chunks attend to the earlier ones."""
    engine.drain_steps()
    for tokens in lengths:
        for _ in range(repeats):
            await engine.request("prefill", tokens, 1)
    await engine.settle()
    return {"prefill_points": prefill_points(recorded_steps(engine))}


async def first_tokens(engine: Engine, wanted: Sequence[tuple[Kind, int]], repeats: int) -> Points:
    """Single requests on an idle engine, by kind and prompt length."""
    engine.drain_steps()
    points = []
    for kind, tokens in wanted:
        stamps = []
        for _ in range(repeats):
            stamps.append(await engine.request(kind, tokens, 4 if kind == "decode" else 1, streamed=True))
            await asyncio.sleep(0.005)
        points.append(first_token_point("idle", 0, stamps))
    await engine.settle()
    # The last request only settles the engine.
    steps = recorded_steps(engine)[:-1]
    return {"first_token_points": points, "prefill_points": prefill_points(steps), "idle_starts": idle_starts(steps)}
