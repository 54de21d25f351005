"""Steps as serving has them: requests of unequal lengths come and go, and every token is sent to the client."""

import asyncio
import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from profiler import served
from profiler.arrival_cost import arrival_points
from profiler.engine import Engine, undisturbed
from profiler.phases.base import Points, first_token_point, fitting_batch, kv_capacity_tokens, recorded_steps
from profiler.plateaus import milliseconds, step_stats
from profiler.power import average_power
from profiler.recording import RequestStamps, Step
from profiler.stalls import stall_extra_ms, stall_record

SEED = 20261125
TICK_S = 0.005
BAND = 16
MOST_LENGTHS = 500


@dataclass(frozen=True, slots=True)
class LengthLaw:
    """Log-normal lengths within a range, tokens."""

    median: float
    sigma: float
    least: int
    most: int

    def draw(self, draws: random.Random) -> int:
        """One length."""
        return round(min(self.most, max(self.least, draws.lognormvariate(math.log(self.median), self.sigma))))

    @property
    def mean(self) -> float:
        """Of the law without its range."""
        return self.median * math.exp(self.sigma**2 / 2)


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """How many requests run at a time goes from 1 to `largest`, as far as KV reaches, and back, `ramp_s` each way.

    hold_s: how long they are as many as that in between. A card that is kept at its limits for seconds slows down.
    prompts: a prompt has one of these laws, all equally likely.
    largest: None is as many as the engine takes.
    refill_s: those who have ended are replaced about so often, all at once; where that is long, they come in bursts.
    """

    name: str
    prompts: tuple[LengthLaw, ...]
    outputs: LengthLaw
    ramp_s: float
    largest: int | None = None
    hold_s: float = 0.0
    refill_s: float = TICK_S

    @property
    def mean_tokens(self) -> float:
        """Of a request, prompt and output together."""
        return fmean(law.mean for law in self.prompts) + self.outputs.mean

    def draw(self, draws: random.Random, limit_tokens: int) -> tuple[int, int]:
        """Prompt and output tokens of one request, together at most `limit_tokens`."""
        output = min(self.outputs.draw(draws), limit_tokens // 4)
        return min(draws.choice(self.prompts).draw(draws), limit_tokens - output), output


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one sweep saw; `peak_s` is when most requests ran, on the clock of stamps and steps."""

    peak_s: float
    stamps: list[RequestStamps]
    steps: list[Step]


async def _sweep(engine: Engine, plan: TrafficPlan, largest: int) -> Sweep:
    """Keeps as many requests running as the plan says, while there is room for all that they will ever hold."""
    draws = random.Random(f"{plan.name} {SEED}")
    limit_tokens, room = engine.settings.max_model_len, kv_capacity_tokens(engine)
    held: dict[asyncio.Task[RequestStamps], int] = {}
    stamps: list[RequestStamps] = []
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    peak_s = start_s + plan.ramp_s + plan.hold_s / 2
    prompt, output = plan.draw(draws, limit_tokens)
    while (now_s := loop.time()) < start_s + 2 * plan.ramp_s + plan.hold_s:
        from_peak_s = max(0.0, abs(now_s - peak_s) - plan.hold_s / 2)
        wanted = math.ceil(largest * (1 - from_peak_s / plan.ramp_s))
        while len(held) < wanted and sum(held.values()) + prompt + output + engine.block_size <= room:
            task = asyncio.create_task(engine.request("decode", prompt, output, streamed=True))
            held[task] = prompt + output + engine.block_size
            prompt, output = plan.draw(draws, limit_tokens)
        # A place is filled again when it comes free, not at the next step: so arrivals do not keep in phase with steps.
        await asyncio.sleep(plan.refill_s * (0.5 + draws.random()))
        for task in [task for task in held if task.done()]:
            stamps.append(task.result())
            del held[task]
    stamps += await asyncio.gather(*held)
    await engine.settle()
    return Sweep(peak_s, stamps, recorded_steps(engine))


def traffic_points(sweep: Sweep, name: str, *, held_apart: bool = False) -> list[dict[str, Any]]:
    """One point a batch size and direction (run 0 before the peak, 1 after it), without stalls.

    Contexts are means over its steps: of their sum, of the longest, and of their standard deviation. Unlike in a
    plateau, joins and leaves are part of the steps: `join_steps` of them admitted somebody, `after_join_steps` came
    right after one that did. Batches that bursts only pass through make a point of one step.

    held_apart: steps whose output the launch of the next one held up do not count, nor do those, which seem shorter by as
    much. With drafts that is how a request often enters.
    """
    extra_ms = stall_extra_ms(sweep.steps).tolist()
    joins = [bool(step.joined) for step in sweep.steps]
    held = [held_apart and step.held_up for step in sweep.steps]
    is_timed = [not (now or before) for now, before in zip(held, [False, *held], strict=False)]
    groups: dict[tuple[int, int], list[tuple[Step, bool, bool]]] = {}
    for step, extra, timed, join, after_join in zip(
        sweep.steps, extra_ms, is_timed, joins, [False, *joins], strict=False
    ):
        if timed and not extra and not step.chunks and not step.idle_start:
            direction = int(step.scheduled_s > sweep.peak_s)
            groups.setdefault((step.requests, direction), []).append((step, join, after_join))
    points = []
    for (batch, direction), group in sorted(groups.items()):
        steps = [step for step, _, _ in group]
        point = {
            "batch": batch,
            "context_tokens": round(fmean(step.context_tokens for step in steps)),
            "longest_tokens": round(fmean(step.longest_tokens for step in steps)),
            "context_std_tokens": round(fmean(step.context_std_tokens for step in steps), 1),
            "lengths": "traffic",
            "run": direction,
            "traffic": name,
            "joined": sum(len(step.joined) for step in steps),
            "join_steps": sum(join for _, join, _ in group),
            "after_join_steps": sum(after_join for _, _, after_join in group),
        }
        points.append(point | step_stats(milliseconds(steps)) | average_power(steps))
    return points


def first_token_points(sweep: Sweep, name: str) -> list[dict[str, Any]]:
    """The way of requests to their first token, by how many emitted beside them, in bands of `BAND` batch sizes."""
    ends_s = [step.end_s for step in sweep.steps]
    bands: dict[int, list[tuple[int, RequestStamps]]] = {}
    for stamps in sweep.stamps:
        if stamps.engine_first_token_s is None:
            continue
        # The engine stamps a token right after the step's output is out.
        at = bisect_right(ends_s, stamps.engine_first_token_s + 1e-4) - 1
        batch = sweep.steps[max(at, 0)].requests
        bands.setdefault(batch // BAND, []).append((batch, stamps))
    points = []
    for _, found in sorted(bands.items()):
        batch = round(sum(batch for batch, _ in found) / len(found))
        prompt_tokens = round(sum(stamps.prompt_tokens for _, stamps in found) / len(found))
        point = first_token_point("traffic", batch, [stamps for _, stamps in found])
        points.append(point | {"prompt_tokens": prompt_tokens, "traffic": name})
    return points


async def traffic(engine: Engine, plan: TrafficPlan) -> Points:
    """Decode steps over all batch sizes under churn."""
    engine.drain_steps()
    wanted = engine.settings.max_num_seqs if plan.largest is None else plan.largest
    with undisturbed():
        sweep = await _sweep(engine, plan, fitting_batch(engine, wanted, math.ceil(plan.mean_tokens)))
    return {
        "decode_points": traffic_points(sweep, plan.name, held_apart=engine.launches_drafts_ahead),
        "first_token_points": first_token_points(sweep, plan.name),
        "arrival_points": arrival_points(sweep.steps, plan.name),
        "served_lengths": [served_lengths(sweep.stamps, plan.name)],
        "host_stalls": [{"phase": f"traffic-{plan.name}"} | stall_record(sweep.steps, arrivals_apart=True)],
        **({"launch_points": served.launch_points(sweep.steps, plan.name)} if engine.settings.speculative else {}),
    }


def served_lengths(stamps: list[RequestStamps], name: str) -> dict[str, Any]:
    """Lengths of the sweep's requests, of every so manieth where there are many."""
    every = -(-len(stamps) // MOST_LENGTHS)
    return {
        "traffic": name,
        "requests": len(stamps),
        "prompt_tokens": [each.prompt_tokens for each in stamps[::every]],
        "output_tokens": [each.output_tokens for each in stamps[::every]],
    }
