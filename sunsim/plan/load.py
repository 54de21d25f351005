"""Where a search begins: how many GPUs the load alone asks for. A guess; what is found does not depend on it."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sunsim.cluster.pool import read_profile
from sunsim.latency.profile import find_profile
from sunsim.measured import arriving_s
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.roles import Stage
from sunsim.workload.mix import length_mix

if TYPE_CHECKING:
    from sunsim.metrics.rows import Bools
    from sunsim.roles import Role
    from sunsim.scenario.blocks import Arm, Pool, Scenario
    from sunsim.workload.requests import Requests

SAMPLE = 500
"""Prompts whose prefill is averaged."""
HOPELESS_MS = 1e6
"""Stands for the time of a token where even a batch of one is too slow for the limit, so that the most is tried."""


def starts(scenario: Scenario, arm: Arm, roles: list[Role]) -> dict[Role, int]:
    """For each pool its load, in GPUs that are always busy, rounded up."""
    drawn = requests_under(scenario, AS_PLANNED)
    length_s = arriving_s(scenario, drawn)
    found = {}
    for role in roles:
        pool = arm.pools()[role.stage]
        own = np.ones(len(drawn), np.bool_) if role.model is None else drawn.model == drawn.models.index(role.model)
        work_s = _prefill_s if role.stage is Stage.PREFILL else _decode_s
        found[role] = max(1, ceil(work_s(scenario, pool, drawn, own) / length_s)) if own.any() else 1
    return found


def _prefill_s(scenario: Scenario, pool: Pool, drawn: Requests, own: Bools) -> float:
    """GPU time of the prompts, one a step."""
    _, times = read_profile(find_profile(pool.profile, Path()), length_mix(scenario))
    prompts = drawn.prompt_tokens[own]
    return float(np.mean([times.prefill_step_ms(int(n)) for n in prompts[:SAMPLE]])) / 1000 * len(prompts)


def _decode_s(scenario: Scenario, pool: Pool, drawn: Requests, own: Bools) -> float:
    """GPU time of the output tokens, in the batch that gives most of them per second within the TPOT limit."""
    profile, times = read_profile(find_profile(pool.profile, Path()), length_mix(scenario))
    prompts, outputs = drawn.prompt_tokens[own].astype(float), drawn.output_tokens[own].astype(float)
    context = float(((prompts + outputs / 2) * outputs).sum() / outputs.sum())
    seats = pool.max_num_seqs or profile.max_num_seqs
    room = int((pool.num_gpu_blocks or profile.num_gpu_blocks) * profile.block_size / context)
    limit_ms = scenario.slo.tpot_ms or np.inf
    steps_ms = {batch: times.decode_step_ms(batch, round(batch * context)) for batch in range(1, min(seats, room) + 1)}
    best = max((batch / ms for batch, ms in steps_ms.items() if ms <= limit_ms), default=1 / HOPELESS_MS)
    return float(outputs.sum() / best / 1000)
