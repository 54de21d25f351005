"""Decode steps as serving has them: requests of unequal lengths join and leave, and every token goes to the client."""

import asyncio
import math
import random
from dataclasses import dataclass
from typing import Any

from profiler.engine import Engine, undisturbed
from profiler.phases.base import Points, fitting_batch, recorded_steps
from profiler.plateaus import step_stats
from profiler.recording import RequestStamps, Step
from profiler.stalls import stall_extra_ms, stall_record

TICK_S = 0.005
LEAST_STEPS = 3


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
    """How many requests run at a time goes from 1 to `largest`, as far as KV reaches, and back, `ramp_s` each way."""

    name: str
    prompts: LengthLaw
    outputs: LengthLaw
    ramp_s: float
    largest: int = 256
    seed: int = 20261125


async def _sweep(engine: Engine, plan: TrafficPlan, largest: int) -> float:
    """Keeps as many requests running as the plan says; when the peak was reached, on the loop's clock."""
    draws = random.Random(plan.seed)
    running: set[asyncio.Task[RequestStamps]] = set()
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
            task.result()
            running.remove(task)
    await asyncio.gather(*running)
    return peak_s


def traffic_points(steps: list[Step], peak_s: float, name: str) -> list[dict[str, Any]]:
    """One point a batch size and direction (run 0: before the peak), stalls left out; contexts are those of its steps.

    Unlike in a plateau, joins and leaves are part of the steps.
    """
    extra_ms = stall_extra_ms(steps)
    groups: dict[tuple[int, int], list[Step]] = {}
    for step, extra in zip(steps, extra_ms.tolist(), strict=True):
        if not extra and not step.chunks and not step.idle_start:
            groups.setdefault((step.requests, int(step.scheduled_s > peak_s)), []).append(step)
    return [
        {
            "batch": batch,
            "context_tokens": round(sum(step.context_tokens for step in group) / len(group)),
            "lengths": "traffic",
            "run": run,
            "traffic": name,
            "joined": sum(len(step.joined) for step in group),
        }
        | step_stats([step.step_s * 1e3 for step in group])
        for (batch, run), group in sorted(groups.items())
        if len(group) >= LEAST_STEPS
    ]


async def traffic(engine: Engine, plan: TrafficPlan) -> Points:
    """Steps over all batch sizes under churn."""
    engine.drain_steps()
    each = math.ceil(plan.prompts.mean + plan.outputs.mean)
    largest = fitting_batch(engine, plan.largest, each, spare_tokens=4 * plan.prompts.most)
    with undisturbed():
        peak_s = await _sweep(engine, plan, largest)
    await engine.settle()
    steps = recorded_steps(engine)
    return {
        "decode_points": traffic_points(steps, peak_s, plan.name),
        "host_stalls": [{"phase": f"traffic-{plan.name}"} | stall_record(steps)],
    }
