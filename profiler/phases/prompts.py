"""Steps as serving has them where prompts are computed: on a prefill worker, and on a colocated one."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from profiler import served
from profiler.chunks import idle_starts_by_size
from profiler.engine import Engine, undisturbed
from profiler.phases.acceptance import falling_rates
from profiler.phases.base import Points, first_token_point, recorded_steps
from profiler.phases.traffic import LengthLaw
from profiler.recording import RequestStamps

ACCEPTED = 0.75
"""Of each draft that is reached, the share that is accepted beside prompts."""


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """Prompts at random times for `duration_s`, as many as take the engine a share `load` of it at its best speed.

    together: how many come at once, each as likely.
    outputs: of how many tokens; None is one each, so that nothing is decoded.
    """

    prompts: LengthLaw
    load: float
    duration_s: float
    together: tuple[int, ...] = (1,)
    outputs: LengthLaw | None = None
    seed: int = 20261126

    def rate_rps(self, best_tokens_per_s: float) -> float:
        """Prompts a second.

        Raises ValueError where that speed is not known.
        """
        if not best_tokens_per_s:
            msg = "the warm-up did not get as far as the engine's best speed, which traffic with prompts is a share of"
            raise ValueError(msg)
        return self.load * best_tokens_per_s / self.prompts.mean


async def _arrive(engine: Engine, plan: PromptPlan) -> list[RequestStamps]:
    """Serves all requests of a plan."""
    draws = random.Random(plan.seed)
    mean_gap_s = sum(plan.together) / len(plan.together) / plan.rate_rps(engine.best_prefill_tokens_per_s)
    most_tokens = engine.settings.max_model_len
    tasks = []
    with undisturbed():
        loop = asyncio.get_running_loop()
        end_s = loop.time() + plan.duration_s
        while loop.time() < end_s:
            await asyncio.sleep(draws.expovariate(1 / mean_gap_s))
            for _ in range(draws.choice(plan.together)):
                output = min(plan.outputs.draw(draws), most_tokens // 4) if plan.outputs else 1
                prompt = min(plan.prompts.draw(draws), most_tokens - output)
                tasks.append(asyncio.create_task(engine.request("prefill", prompt, output, streamed=True)))
        stamps = await asyncio.gather(*tasks)
    await engine.settle()
    return stamps


async def prefill_traffic(engine: Engine, plans: Sequence[PromptPlan]) -> Points:
    """Prompts of unequal lengths that find the engine idle or busy, as it comes."""
    engine.drain_steps()
    stamps = [each for plan in plans for each in await _arrive(engine, plan)]
    steps = recorded_steps(engine)
    return {
        "idle_starts": idle_starts_by_size(steps),
        "prefill_points": served.prefill_points(steps),
        "pauses": served.pauses(steps, "prefill"),
        "first_token_points": first_token_points(stamps),
    }


async def colocated_traffic(engine: Engine, plans: Sequence[PromptPlan]) -> Points:
    """Prompts beside requests that decode, as an ordinary worker has them."""
    engine.drain_steps()
    drafts = engine.settings.num_speculative_tokens
    # Steps take as long whatever is accepted, but with nothing accepted such a load is more than the engine can do.
    if drafts:
        await engine.set_acceptance_rates(falling_rates(ACCEPTED, drafts))
    try:
        for plan in plans:
            await _arrive(engine, plan)
    finally:
        if drafts:
            await engine.set_acceptance_rates([0.0] * drafts)
    steps = recorded_steps(engine)
    return {
        "mixed_points": served.mixed_points(steps),
        **({"launch_points": served.launch_points(steps, "colocated")} if drafts else {}),
    }


def first_token_points(stamps: Sequence[RequestStamps]) -> list[dict[str, Any]]:
    """The way of prompts to their first token, by how many had theirs from the same step, whose tokens have one stamp."""
    together = Counter(each.engine_first_token_s for each in stamps)
    groups: dict[int, list[RequestStamps]] = defaultdict(list)
    for each in stamps:
        if each.engine_first_token_s is not None:
            groups[together[each.engine_first_token_s]].append(each)
    return [
        first_token_point("prefill", prompts, group)
        | {"prompt_tokens": round(sum(each.prompt_tokens for each in group) / len(group))}
        for prompts, group in sorted(groups.items())
    ]
