"""Limits that no number of GPUs can meet: those below what the fastest steps take."""

from typing import Any

from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.roles import Stage
from sunsim.scenario import Arm, Pool, Scenario


def hopeless(scenario: Scenario, arm: Arm) -> list[dict[str, Any]]:
    """For each limit that is below what the fastest steps alone take: which `limit`, these `steps`, and their `ms`.

    The fastest prefill step is that of the shortest prompt alone; of the decode steps, of all batches with the shortest
    prompts, the fastest counts. A first token takes both where a decode worker emits it.
    """
    drawn = requests_under(scenario, AS_PLANNED)
    shortest = int(drawn.prompt_tokens.min())
    steps_ms = {
        steps: _fastest_ms(pool, steps, shortest) for stage, pool in arm.pools().items() for steps in stage.steps
    }
    to_first = dict(steps_ms)
    if arm.colocated or (scenario.first_token == "prefill" and len(steps_ms) > 1):
        del to_first[Stage.DECODE]
    assert scenario.plan
    # A one-token output meets any TPOT, so the others must be more than may miss.
    many = float((drawn.output_tokens > 1).mean()) > 1 - scenario.plan.attainment
    between = {steps: ms for steps, ms in steps_ms.items() if steps is Stage.DECODE and many}
    slo = scenario.slo.limits
    found = []
    for limit, taken in (("ttft_ms", to_first), ("tpot_ms", between)):
        if limit in slo and sum(taken.values()) > slo[limit]:
            found.append({"limit": limit, "steps": list(taken), "ms": sum(taken.values())})
    return found


def _fastest_ms(pool: Pool, steps: Stage, shortest: int) -> float:
    if steps is Stage.PREFILL:
        return pool.times.prefill_step_ms(shortest)
    return min(pool.times.decode_step_ms(batch, batch * shortest) for batch in range(1, pool.max_num_seqs + 1))
