"""Which phases a profile has, most important first, so that a short budget still leaves a usable profile."""

from dataclasses import replace
from functools import partial
from typing import Any

from profiler.engine import Engine
from profiler.phases import acceptance, arrivals, decode, prefill, prompts, traffic
from profiler.phases.arrivals import ChunkPlan, JoinPlan
from profiler.phases.base import Phase, Points
from profiler.phases.prompts import PromptPlan
from profiler.phases.steady import steady_step_ms, until_steady
from profiler.phases.traffic import LengthLaw, TrafficPlan
from profiler.request_ids import Kind
from profiler.settings import LEAST_MODEL_LEN, MOVES_KV, EngineSettings

Repeated = tuple[tuple[int, int], ...]
"""(tokens or requests, how many times)."""

SINGLE_JOINS: Repeated = ((1024, 7), (128, 5), (4096, 5))
GROUP_JOINS: Repeated = ((4, 4), (16, 3))
CHUNKS: Repeated = ((256, 7), (1024, 7), (4096, 5), (8192, 4), (16384, 2))

QUICK_BATCHES = (16, 9, 8, 4, 2, 1)
CHECKED_BATCHES = (4, 32, 128)

# Short outputs, so that a sweep sees many mixes of lengths: who is there changes completely in a second or two.
_OUTPUTS = LengthLaw(80, 0.7, 8, 600)
_CHAT_PROMPTS = LengthLaw(900, 0.8, 16, 6000)
_CHAT = TrafficPlan("chat", (_CHAT_PROMPTS,), _OUTPUTS, ramp_s=8, hold_s=8)
_TWO_KINDS = (*[LengthLaw(200, 0.4, 16, 1000)] * 4, LengthLaw(9000, 0.25, 4000, 14000))

# Between them, batch and context vary apart, and so do how unequal contexts are and how often somebody joins.
TRAFFIC = (
    _CHAT,
    TrafficPlan("long", (LengthLaw(4000, 0.5, 200, 14000),), _OUTPUTS, ramp_s=6),
    TrafficPlan("bursts", (_CHAT_PROMPTS,), _OUTPUTS, ramp_s=7, largest=128, refill_s=1),
    TrafficPlan("two-kinds", _TWO_KINDS, _OUTPUTS, ramp_s=7),
    TrafficPlan("long-outputs", (LengthLaw(200, 0.6, 16, 1000),), LengthLaw(850, 0.3, 600, 1500), ramp_s=6),
    TrafficPlan("few", (LengthLaw(2000, 1.2, 64, 15000),), LengthLaw(250, 0.6, 32, 1000), ramp_s=4, largest=16),
    TrafficPlan("longest", (LengthLaw(11500, 0.2, 8000, 15500),), _OUTPUTS, ramp_s=5),
    TrafficPlan("short", (LengthLaw(250, 0.8, 8, 2000),), _OUTPUTS, ramp_s=5),
)
# Prompts of serving never reach the best speed: these are about half of what a worker can do, then four fifths of it,
# some of it at once.
_PROMPTS = PromptPlan(_CHAT_PROMPTS, load=0.47, duration_s=14)
_BURSTS = PromptPlan(_CHAT_PROMPTS, load=0.75, duration_s=9, together=(1, 1, 1, 1, 1, 2, 4, 8, 16), seed=20261127)
_COLOCATED = PromptPlan(_CHAT_PROMPTS, load=0.39, duration_s=10, outputs=_OUTPUTS)
# What is left of prompts whose beginnings are cached.
_SHORT = PromptPlan(LengthLaw(150, 0.8, 16, 2000), load=0.16, duration_s=8, outputs=_OUTPUTS, seed=20261129)

_IDLE: tuple[tuple[Kind, int], ...] = (
    ("decode", 128),
    ("decode", 1024),
    ("decode", 8192),
    ("prefill", 64),
    ("prefill", 128),
    ("prefill", 256),
    ("prefill", 512),
    ("prefill", 672),
    ("prefill", 928),
    ("prefill", 2208),
    ("prefill", 4256),
    ("prefill", 8096),
)


def prefill_grid(grid: dict[int, tuple[int, ...]], settings: EngineSettings) -> dict[int, tuple[int, ...]]:
    """The (prompts, tokens) that one step of the engine can hold."""
    most = min(settings.max_num_batched_tokens, settings.max_model_len - 1)
    return {
        prompts: tuple(n for n in lengths if n <= most and prompts * n <= settings.max_num_batched_tokens)
        for prompts, lengths in grid.items()
        if prompts <= settings.max_num_seqs
    }


def _long_prompts(settings: EngineSettings) -> tuple[int, ...]:
    """Lengths of prompts that take more than one step; none where the engine takes no such prompt."""
    budget, limit = settings.max_num_batched_tokens, settings.max_model_len
    return tuple(n for n in (budget * 3 // 2, min(limit - 384, 4 * budget)) if budget < n < limit)


def _chunk_plan(batch: int, chunks: Repeated, settings: EngineSettings) -> ChunkPlan:
    """Leaves a place for whoever comes."""
    most = min(settings.max_num_batched_tokens, settings.max_model_len - 1)
    return ChunkPlan(min(batch, settings.max_num_seqs - 1), tuple((n, times) for n, times in chunks if n <= most))


def _join_plan(batch: int, singles: Repeated, groups: Repeated, settings: EngineSettings) -> JoinPlan:
    groups = tuple((n, times) for n, times in groups if n < settings.max_num_seqs)
    singles = tuple((n, times) for n, times in singles if 2 * n <= settings.max_model_len)
    return JoinPlan(min(batch, settings.max_num_seqs - max((n for n, _ in groups), default=1)), singles, groups)


def _joins(batch: int, settings: EngineSettings) -> Phase:
    plan = _join_plan(batch, SINGLE_JOINS, GROUP_JOINS, settings)
    return Phase(f"joins-{batch}", partial(arrivals.joins, plan=plan))


def _mixed(batch: int, settings: EngineSettings) -> Phase:
    return Phase(f"mixed-{batch}", partial(arrivals.chunks, plan=_chunk_plan(batch, CHUNKS, settings)))


def _even(context: int, settings: EngineSettings, run: int = 0) -> list[Phase]:
    """None where it does not fit: those who stay to the end of a staircase emit a thousand tokens or more."""
    name = f"decode-{context}" + ("-again" if run else "")
    fits = context + LEAST_MODEL_LEN // 2 <= settings.max_model_len
    return [Phase(name, partial(decode.even, context=context, run=run))] if fits else []


async def _extremes(engine: Engine) -> Points:
    """Two mixes whose longest requests hold half of all context."""
    points: Points = {}
    for batch, longest in ((64, 4), (16, 1)):
        if batch > engine.settings.max_num_seqs:
            continue
        mix = await decode.extreme(engine, batch=batch, longest=longest, longest_tokens=8192, mean_tokens=1024)
        for name, found in mix.items():
            points[name] = points.get(name, []) + found
    return points


def _with_drafts(settings: EngineSettings) -> list[Phase]:
    """A profile of steps with drafts: what decodes and joins take, and the least of all else."""
    limit = settings.max_model_len
    sweeps = {plan.name: plan for plan in TRAFFIC if max(law.median for law in plan.prompts) < 0.75 * limit}
    grid = prefill_grid(prefill.GRID, settings)
    idle = tuple((kind, tokens) for kind, tokens in _IDLE if tokens < limit - 4)

    def swept(*names: str) -> list[Phase]:
        wanted = [sweeps[name] for name in names if name in sweeps]
        return [Phase(f"traffic-{plan.name}", partial(traffic.traffic, plan=plan)) for plan in wanted]

    return [
        *_even(1024, settings),
        *_even(128, settings),
        Phase("prefill", partial(prefill.groups, grid=grid, repeats=8)),
        Phase("acceptance-check", partial(acceptance.acceptance_check, batches=CHECKED_BATCHES)),
        Phase("first-tokens", partial(prefill.first_tokens, wanted=idle, repeats=8)),
        *swept("chat"),
        *_even(4096, settings),
        Phase("traffic-colocated", partial(prompts.colocated_traffic, plans=(_COLOCATED, _SHORT))),
        _joins(64, settings),
        _mixed(64, settings),
        *swept("two-kinds", "long"),
        Phase("traffic-prefill", partial(prompts.prefill_traffic, plans=(_PROMPTS, _BURSTS))),
        Phase("prefill-long", partial(prefill.long_prompts, lengths=_long_prompts(settings), repeats=2)),
        *swept("bursts", "few"),
    ]


def full(settings: EngineSettings) -> list[Phase]:
    """A reference profile, as far as the engine's limits let it be one."""
    if settings.speculative:
        return _with_drafts(settings)
    limit = settings.max_model_len
    chat, *others = (
        Phase(f"traffic-{plan.name}", partial(traffic.traffic, plan=plan))
        for plan in TRAFFIC
        if max(law.median for law in plan.prompts) < 0.75 * limit
    )
    grid = prefill_grid(prefill.GRID, settings)
    idle = tuple((kind, tokens) for kind, tokens in _IDLE if tokens < limit - 4)
    first_tokens = Phase("first-tokens", partial(prefill.first_tokens, wanted=idle, repeats=12))
    with_prompts = Phase("traffic-prefill", partial(prompts.prefill_traffic, plans=(_PROMPTS, _BURSTS)))
    long_decodes = _even(4096, settings)
    if settings.kv_connector == MOVES_KV:
        # Half of such workers have nothing but prompts.
        middle = [first_tokens, with_prompts, *long_decodes, chat]
    else:
        middle = [*long_decodes, first_tokens, chat, with_prompts]
    return [
        *_even(1024, settings),
        *_even(128, settings),
        Phase("prefill", partial(prefill.groups, grid=grid, repeats=8)),
        *middle,
        Phase("traffic-colocated", partial(prompts.colocated_traffic, plans=(_COLOCATED, _SHORT))),
        _mixed(64, settings),
        Phase("prefill-long", partial(prefill.long_prompts, lengths=_long_prompts(settings), repeats=4)),
        _mixed(192, settings),
        _mixed(16, settings),
        *others,
        _joins(64, settings),
        *_even(8192, settings),
        *([Phase("decode-extreme", _extremes)] if limit > 8192 + decode.EXTREME_STEPS else []),
        *_even(1024, settings, run=1),
    ]


def quick(settings: EngineSettings) -> list[Phase]:
    """A few seconds of everything."""
    check = partial(acceptance.acceptance_check, batches=(8,), repeats=1)
    return [
        *([Phase("acceptance-check", check)] if settings.speculative else []),
        Phase("decode-128", partial(decode.even, context=128, steps=12, batches=QUICK_BATCHES)),
        Phase("prefill", partial(prefill.groups, grid=prefill.QUICK_GRID, repeats=3)),
        Phase("mixed-8", partial(arrivals.chunks, plan=_chunk_plan(8, ((256, 2),), settings))),
        Phase("joins-8", partial(arrivals.joins, plan=_join_plan(8, ((128, 2),), ((4, 2),), settings))),
        Phase("first-tokens", partial(prefill.first_tokens, wanted=(("decode", 128), ("prefill", 128)), repeats=3)),
        Phase("prefill-long", partial(prefill.long_prompts, lengths=_long_prompts(settings)[:1], repeats=1)),
        Phase("traffic-chat", partial(traffic.traffic, plan=replace(_CHAT, ramp_s=0.5, hold_s=0.0, largest=12))),
        Phase("traffic-prefill", partial(prompts.prefill_traffic, plans=(replace(_BURSTS, duration_s=1.0),))),
        Phase("traffic-colocated", partial(prompts.colocated_traffic, plans=(replace(_COLOCATED, duration_s=2.0),))),
    ]


async def _prompts_once(engine: Engine, grid: dict[int, tuple[int, ...]]) -> None:
    """Steps of prompts, of which the best says how many the engine can take."""
    engine.best_prefill_tokens_per_s = prefill.best_tokens_per_s(await prefill.groups(engine, grid, 1))


async def warm_up(engine: Engine, *, is_quick: bool) -> dict[str, Any]:
    """Runs through the shapes once: kernels are compiled and caches filled at first use. Returns what a profile states.

    Unless quick, it then keeps card and host busy until a decode step takes the same time again and again.
    KV blocks are in random order from then on, as on a worker that has served for hours: attention to blocks that are
    neighbours, as on a fresh one, is faster.
    """
    if is_quick:
        await decode.even(engine, 128, steps=2, batches=QUICK_BATCHES)
        await _prompts_once(engine, prefill.QUICK_GRID)
    else:
        await decode.even(engine, 128, steps=2)
        await _prompts_once(engine, prefill_grid(prefill.GRID, engine.settings))
        await prefill.long_prompts(engine, _long_prompts(engine.settings)[-1:], 1)
        await arrivals.chunks(engine, _chunk_plan(64, ((256, 1), (4096, 1)), engine.settings))
    steady = {} if is_quick else await until_steady(partial(steady_step_ms, engine))
    await engine.scatter_blocks()
    return steady
