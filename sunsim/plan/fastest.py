"""Limits that no number of GPUs can meet: those below what the fastest steps take."""

from typing import Any

import numpy as np

from sunsim.metrics.rows import Bools
from sunsim.metrics.slo import LIMITS, limits_of
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.windows import Stretches
from sunsim.report.format import together
from sunsim.roles import Stage
from sunsim.scenario import Arm, Pool, Scenario
from sunsim.workload.requests import Requests


def hopeless(scenario: Scenario, arm: Arm) -> list[dict[str, Any]]:
    """For each limit that is below what the fastest steps alone take: which `limit`, of how many milliseconds
    (`limit_ms`), of which `models` (none if it is that of all), these `steps`, and their `ms`.
    """
    drawn = requests_under(scenario, AS_PLANNED)
    of_model = {name: limits_of(scenario.slo.limits, name) for name in drawn.models}
    found = []
    for limit in LIMITS:
        alike = together((limits[limit], name) for name, limits in of_model.items() if limit in limits)
        for limit_ms, models in alike.items():
            own = np.isin(drawn.model, [drawn.models.index(name) for name in models])
            if not own.any():
                continue
            steps_ms = _least_ms(scenario, arm, drawn, own)[limit]
            ms = sum(steps_ms.values())
            if ms > limit_ms:
                told = models if len(models) < len(drawn.models) else []
                found.append({"limit": limit, "limit_ms": limit_ms, "models": told, "steps": list(steps_ms), "ms": ms})
    return found


def _least_ms(scenario: Scenario, arm: Arm, drawn: Requests, own: Bools) -> dict[str, dict[Stage, float]]:
    """What the fastest steps take of the time that each limit is of, for `own` requests of those drawn.

    The fastest prefill step is that of the shortest prompt alone, of sessions that of its last token; of the decode
    steps, of all batches with the shortest prompts, the fastest counts. A first token takes both where a decode worker
    emits it. The last one comes as many tokens later as the longest output has, once as many of the longest as may miss
    are left out.
    """
    outputs, shortest = drawn.output_tokens[own], int(drawn.prompt_tokens[own].min())
    # All but that token may be in a cache.
    least = {Stage.PREFILL: shortest if drawn.sessions is None else 1, Stage.DECODE: shortest}
    steps_ms = {
        steps: _fastest_ms(pool, steps, least[steps]) for stage, pool in arm.pools().items() for steps in stage.steps
    }
    to_first = dict(steps_ms)
    if arm.colocated or (scenario.first_token == "prefill" and len(steps_ms) > 1):
        del to_first[Stage.DECODE]
    may_miss = int(Stretches.of(scenario).may_miss(len(outputs)))
    gaps = int(np.sort(outputs)[::-1][min(may_miss, len(outputs) - 1)]) - 1
    # A one-token output meets any TPOT.
    between: dict[Stage, float] = {stage: ms for stage, ms in steps_ms.items() if stage is Stage.DECODE and gaps}
    to_last = to_first | {stage: to_first.get(stage, 0.0) + gaps * ms for stage, ms in between.items()}
    return dict(zip(LIMITS, (to_first, between, to_last), strict=True))


def _fastest_ms(pool: Pool, steps: Stage, shortest: int) -> float:
    if steps is Stage.PREFILL:
        return pool.times.prefill_step_ms(shortest)
    return min(pool.times.decode_step_ms(batch, batch * shortest) for batch in range(1, pool.max_num_seqs + 1))
