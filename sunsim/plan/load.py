"""Where a search begins: how many workers the load alone asks for. A guess; what is found does not depend on it."""

from math import ceil

import numpy as np

from sunsim.latency.velocity import decode_step_s
from sunsim.measured import arriving_s
from sunsim.metrics.rows import Bools
from sunsim.metrics.slo import limit_values
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.roles import Role
from sunsim.scenario import Arm, Pool, Scenario
from sunsim.workload.requests import Requests

SAMPLE = 500
"""Prompts whose prefill is averaged."""
HOPELESS_S = 1000.0
"""Stands for the time of a token where even a batch of one is too slow for the limit, so that the most is tried."""


def starts(scenario: Scenario, arm: Arm, roles: list[Role]) -> dict[Role, int]:
    """For each pool its load, in workers that are always busy, rounded up."""
    drawn = requests_under(scenario, AS_PLANNED)
    length_s = arriving_s(scenario, drawn)
    found = {}
    for role in roles:
        pool = arm.pools()[role.stage]
        own = np.ones(len(drawn), np.bool_) if role.model is None else drawn.model == drawn.models.index(role.model)
        served = drawn.models if role.model is None else (role.model,)
        tightest_ms = min(limit_values(scenario.slo.limits, served).get("tpot_ms", [np.inf]))
        work_s = 0.0
        if own.any() and role.prefills:
            work_s += _prefill_s(pool, drawn, own)
        if own.any() and role.decodes:
            work_s += _decode_s(pool, drawn, own, tightest_ms / 1000)
        found[role] = max(1, ceil(work_s / length_s))
    return found


def _prefill_s(pool: Pool, drawn: Requests, own: Bools) -> float:
    """GPU time of the prompts, one a step."""
    prompts = drawn.prompt_tokens[own]
    return float(np.mean([pool.times.prefill_step_ms(int(n)) for n in prompts[:SAMPLE]])) / 1000 * len(prompts)


def _decode_s(pool: Pool, drawn: Requests, own: Bools, limit_s: float) -> float:
    """GPU time of the output tokens, in the batch that gives most of them per second within the TPOT limit."""
    prompts, outputs = drawn.prompt_tokens[own].astype(float), drawn.output_tokens[own].astype(float)
    context = float(((prompts + outputs / 2) * outputs).sum() / outputs.sum())
    most = min(pool.max_num_seqs, int(pool.num_gpu_blocks * pool.profile.block_size / context))
    step_s = {batch: decode_step_s(pool.token_times, batch, context, 0.0) for batch in range(1, most + 1)}
    best = max((batch / took_s for batch, took_s in step_s.items() if took_s <= limit_s), default=1 / HOPELESS_S)
    return float(outputs.sum() / best)
