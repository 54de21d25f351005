"""Steps as serving has them: requests of unequal lengths come and go, and every token is sent to the client."""

import asyncio
import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from profiler.engine import Engine, undisturbed
from profiler.phases.base import Points, first_token_point, fitting_batch, recorded_steps
from profiler.plateaus import step_stats
from profiler.recording import RequestStamps, Step
from profiler.stalls import stall_extra_ms, stall_record

SEED = 20261125
TICK_S = 0.005
LEAST_STEPS = 3
BAND = 16


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

    Each of the `sweeps` draws other lengths: the time of a step depends on which lengths share it, and the requests of
    a sweep stay for many steps.
    """

    name: str
    prompts: LengthLaw
    outputs: LengthLaw
    ramp_s: float
    sweeps: int = 1
    largest: int = 256


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one sweep saw; `peak_s` is when most requests ran, on the clock of stamps and steps."""

    peak_s: float
    stamps: list[RequestStamps]
    steps: list[Step]


async def _sweep(engine: Engine, plan: TrafficPlan, largest: int, seed: int) -> Sweep:
    """Keeps as many requests running as the plan says."""
    draws = random.Random(seed)
    running: set[asyncio.Task[RequestStamps]] = set()
    stamps: list[RequestStamps] = []
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    peak_s = start_s + plan.ramp_s
    while (now_s := loop.time()) < start_s + 2 * plan.ramp_s:
        wanted = math.ceil(largest * (1 - abs(now_s - peak_s) / plan.ramp_s))
        while len(running) < wanted:
            prompt, output = plan.prompts.draw(draws), plan.outputs.draw(draws)
            running.add(asyncio.create_task(engine.request("decode", prompt, output, streamed=True)))
        # A place is filled again when it comes free, not at the next step: so arrivals do not keep in phase with steps.
        await asyncio.sleep(TICK_S * (0.5 + draws.random()))
        for task in [task for task in running if task.done()]:
            stamps.append(task.result())
            running.remove(task)
    stamps += await asyncio.gather(*running)
    await engine.settle()
    return Sweep(peak_s, stamps, recorded_steps(engine))


def traffic_points(sweep: Sweep, run: int, name: str) -> list[dict[str, Any]]:
    """One point a batch size and direction (run: an even number before the peak, the next one after it), without stalls.

    Contexts are those of its steps. Unlike in a plateau, joins and leaves are part of the steps.
    """
    extra_ms = stall_extra_ms(sweep.steps)
    groups: dict[tuple[int, int], list[Step]] = {}
    for step, extra in zip(sweep.steps, extra_ms.tolist(), strict=True):
        if not extra and not step.chunks and not step.idle_start:
            groups.setdefault((step.requests, run + (step.scheduled_s > sweep.peak_s)), []).append(step)
    return [
        {
            "batch": batch,
            "context_tokens": round(sum(step.context_tokens for step in group) / len(group)),
            "lengths": "traffic",
            "run": direction,
            "traffic": name,
            "joined": sum(len(step.joined) for step in group),
        }
        | step_stats([step.step_s * 1e3 for step in group])
        for (batch, direction), group in sorted(groups.items())
        if len(group) >= LEAST_STEPS
    ]


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
    each = math.ceil(plan.prompts.mean + plan.outputs.mean)
    largest = fitting_batch(engine, plan.largest, each, spare_tokens=4 * plan.prompts.most)
    points: Points = {"decode_points": [], "first_token_points": [], "host_stalls": []}
    with undisturbed():
        for i in range(plan.sweeps):
            sweep = await _sweep(engine, plan, largest, SEED + i)
            points["decode_points"] += traffic_points(sweep, 2 * i, plan.name)
            points["first_token_points"] += first_token_points(sweep, plan.name)
            points["host_stalls"].append({"phase": f"traffic-{plan.name}"} | stall_record(sweep.steps))
    return points
