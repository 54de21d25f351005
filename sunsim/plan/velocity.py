"""The velocities of an arm's workers, as operators of elastic pools reckon with them, from the content of `plan.json`."""

import numpy as np

from sunsim.latency.velocity import decode_batch, decode_velocity, prefill_velocity, transfer_velocity
from sunsim.metrics.slo import limit_values
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.report.entries import Entry
from sunsim.report.format import count
from sunsim.report.text_table import TextTable, table
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario

VELOCITIES = {"prefill_tokens_per_s": "V_P", "transfer_tokens_per_s": "V_N", "decode_tokens_per_s": "V_D"}
"""By key of `plan.json`, as TokenScale has them."""


def velocities(scenario: Scenario, arm: Arm) -> dict[str, float | None]:
    """Tokens per second of one worker of each kind, under `VELOCITIES`; None where the arm has no such step.

    V_D is that of the planned requests' mean lengths, within the tightest TPOT limit that a model has.
    """
    drawn = requests_under(scenario, AS_PLANNED)
    prompt, output = float(np.mean(drawn.prompt_tokens)), float(np.mean(drawn.output_tokens))
    limits_ms = limit_values(scenario.slo.limits, drawn.models).get("tpot_ms")
    found: dict[str, float | None] = dict.fromkeys(VELOCITIES)
    for stage, pool in arm.pools().items():
        if Stage.PREFILL in stage.steps:
            found["prefill_tokens_per_s"] = prefill_velocity(pool.times, pool.max_num_batched_tokens)
        if Stage.DECODE in stage.steps:
            times = pool.token_times
            batch = decode_batch(
                times,
                prompt,
                output,
                pool.max_num_seqs,
                pool.num_gpu_blocks,
                pool.profile.block_size,
                min(limits_ms) / 1000 if limits_ms else None,
            )
            found["decode_tokens_per_s"] = decode_velocity(times, batch, prompt, output)
    if arm.prefill and arm.decode:
        found["transfer_tokens_per_s"] = transfer_velocity(scenario.link, arm.kv_bytes_per_token)
    return found


def velocity_table(plan: Entry) -> TextTable:
    """An arm a row."""
    return table(
        {"tokens/s\nof a worker": name}
        | {written: count(arm["velocities"][key]) for key, written in VELOCITIES.items()}
        for name, arm in plan["arms"].items()
    )
