"""Which phases a profile has, most important first, so that a short budget still leaves a usable profile."""

from dataclasses import replace
from functools import partial
from typing import Any

from profiler.engine import Engine
from profiler.phases import arrivals, decode, prefill, prompts, traffic
from profiler.phases.arrivals import ChunkPlan, JoinPlan
from profiler.phases.base import Phase, Points
from profiler.phases.prompts import PromptPlan
from profiler.phases.steady import steady_step_ms, until_steady
from profiler.phases.traffic import LengthLaw, TrafficPlan
from profiler.request_ids import Kind

SINGLE_JOINS = ((1024, 7), (128, 5), (4096, 5))
GROUP_JOINS = ((4, 4), (16, 3))
CHUNKS = ((256, 7), (1024, 7), (4096, 5), (8192, 4))

QUICK_BATCHES = (16, 9, 8, 4, 2, 1)


async def _extremes(engine: Engine) -> Points:
    """Two mixes whose longest requests hold half of all context."""
    points: Points = {}
    for batch, longest in ((64, 4), (16, 1)):
        mix = await decode.extreme(engine, batch=batch, longest=longest, longest_tokens=8192, mean_tokens=1024)
        for name, found in mix.items():
            points[name] = points.get(name, []) + found
    return points


def full() -> list[Phase]:
    """A reference profile."""
    return [
        Phase("decode-1024", partial(decode.even, context=1024)),
        Phase("decode-128", partial(decode.even, context=128)),
        Phase("prefill", partial(prefill.groups, grid=prefill.GRID, repeats=8)),
        Phase("decode-4096", partial(decode.even, context=4096)),
        Phase("first-tokens", partial(prefill.first_tokens, wanted=_IDLE, repeats=12)),
        Phase("traffic-chat", partial(traffic.traffic, plan=_CHAT)),
        Phase("traffic-prefill", partial(prompts.prefill_traffic, plans=(_PROMPTS, _BURSTS))),
        Phase("traffic-colocated", partial(prompts.colocated_traffic, plan=_COLOCATED)),
        Phase("traffic-long", partial(traffic.traffic, plan=_LONG)),
        Phase("mixed-64", partial(arrivals.chunks, plan=ChunkPlan(64, CHUNKS))),
        Phase("traffic-short", partial(traffic.traffic, plan=_SHORT)),
        Phase("prefill-long", partial(prefill.long_prompts, lengths=(12288, 16000), repeats=4)),
        Phase("decode-2048", partial(decode.even, context=2048)),
        Phase("mixed-192", partial(arrivals.chunks, plan=ChunkPlan(192, CHUNKS))),
        Phase("mixed-16", partial(arrivals.chunks, plan=ChunkPlan(16, CHUNKS))),
        Phase("joins-64", partial(arrivals.joins, plan=JoinPlan(64, SINGLE_JOINS, GROUP_JOINS))),
        Phase("decode-8192", partial(decode.even, context=8192)),
        Phase("decode-512", partial(decode.even, context=512)),
        Phase("joins-8", partial(arrivals.joins, plan=JoinPlan(8, SINGLE_JOINS, GROUP_JOINS))),
        Phase("joins-200", partial(arrivals.joins, plan=JoinPlan(200, SINGLE_JOINS, GROUP_JOINS))),
        Phase("decode-extreme", _extremes),
        Phase("decode-4096-ordered", partial(decode.ordered, context=4096)),
        Phase("decode-1024-again", partial(decode.even, context=1024, run=1)),
        Phase("decode-128-again", partial(decode.even, context=128, run=1)),
    ]


# Short outputs, so that a sweep sees many mixes of lengths: who is there changes completely in a second or two.
_OUTPUTS = LengthLaw(80, 0.7, 8, 600)
_CHAT_PROMPTS = LengthLaw(900, 0.8, 16, 6000)
_CHAT = TrafficPlan("chat", _CHAT_PROMPTS, _OUTPUTS, ramp_s=15, sweeps=2)
_LONG = TrafficPlan("long", LengthLaw(4000, 0.5, 200, 14000), _OUTPUTS, ramp_s=8, sweeps=2)
_SHORT = TrafficPlan("short", LengthLaw(250, 0.8, 8, 2000), _OUTPUTS, ramp_s=8)
# About half of what a worker can do, then four fifths of it, some of it at once.
_PROMPTS = PromptPlan(_CHAT_PROMPTS, rate_rps=17, duration_s=14)
_BURSTS = PromptPlan(_CHAT_PROMPTS, rate_rps=27, duration_s=9, together=(1, 1, 1, 1, 1, 2, 4, 8, 16), seed=20261127)
_COLOCATED = PromptPlan(_CHAT_PROMPTS, rate_rps=14, duration_s=10, outputs=_OUTPUTS)

_IDLE: tuple[tuple[Kind, int], ...] = (
    ("decode", 128),
    ("decode", 1024),
    ("decode", 8192),
    ("prefill", 64),
    ("prefill", 128),
    ("prefill", 256),
    ("prefill", 512),
    ("prefill", 768),
    ("prefill", 1024),
    ("prefill", 2048),
    ("prefill", 4096),
    ("prefill", 8192),
)


def quick() -> list[Phase]:
    """A few seconds of everything."""
    return [
        Phase("decode-128", partial(decode.even, context=128, steps=12, batches=QUICK_BATCHES)),
        Phase("prefill", partial(prefill.groups, grid=prefill.QUICK_GRID, repeats=3)),
        Phase("mixed-8", partial(arrivals.chunks, plan=ChunkPlan(8, ((256, 2),)))),
        Phase("joins-8", partial(arrivals.joins, plan=JoinPlan(8, ((128, 2),), ((4, 2),)))),
        Phase("first-tokens", partial(prefill.first_tokens, wanted=(("decode", 128), ("prefill", 128)), repeats=3)),
        Phase("prefill-long", partial(prefill.long_prompts, lengths=(12288,), repeats=1)),
        Phase("traffic-chat", partial(traffic.traffic, plan=replace(_CHAT, ramp_s=0.5, largest=12))),
        Phase("traffic-prefill", partial(prompts.prefill_traffic, plans=(replace(_BURSTS, duration_s=1.0),))),
        Phase("traffic-colocated", partial(prompts.colocated_traffic, plan=replace(_COLOCATED, duration_s=2.0))),
    ]


async def warm_up(engine: Engine, *, is_quick: bool) -> dict[str, Any]:
    """Runs through the shapes once: kernels are compiled and caches filled at first use. Returns what a profile states.

    Unless quick, it then keeps card and host busy until a decode step takes the same time again and again.
    KV blocks are in random order from then on, as on a worker that has served for hours: attention to blocks that are
    neighbours, as on a fresh one, is faster.
    """
    if is_quick:
        await decode.even(engine, 128, steps=2, batches=QUICK_BATCHES)
        await prefill.groups(engine, prefill.QUICK_GRID, 1)
    else:
        await decode.even(engine, 128, steps=2)
        await prefill.groups(engine, prefill.GRID, 1)
        await prefill.long_prompts(engine, (16000,), 1)
        await arrivals.chunks(engine, ChunkPlan(64, ((256, 1), (4096, 1))))
    steady = {} if is_quick else await until_steady(partial(steady_step_ms, engine))
    await engine.arrange_blocks("scattered")
    return steady
