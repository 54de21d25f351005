"""Energy, where profiles have power: a worker draws its busy power while it is busy, and its idle power otherwise."""

from collections.abc import Mapping, Sequence
from typing import Any

from sunsim.latency.power import Power
from sunsim.metrics.pools import pool_of
from sunsim.metrics.serving import per
from sunsim.metrics.sessions import has_sessions
from sunsim.records import ArmResult, WorkerRecord
from sunsim.roles import Stage


def add_power(
    summary: Mapping[str, Any], arms: Sequence[ArmResult], power: Mapping[str, Mapping[Stage, Power]]
) -> None:
    """Adds `mean_power_w` to the workers of a summary and `energy_j_per_output_token` to its arms.

    Args:
        summary: of `arms`, in their order.
        arms: as simulated.
        power: of an arm's GPUs in each stage; what is not known there is None in the summary.
    """
    for (name, entry), arm in zip(summary["arms"].items(), arms, strict=True):
        computed = arm.rows["prompt_tokens"]
        if has_sessions(arm.rows):
            computed = computed - arm.rows["cached_tokens"] - arm.rows["pulled_tokens"]
        tokens = computed.groupby(arm.rows["prefill_worker"]).sum()
        drawn = []
        for worker in arm.workers:
            own, known = entry["workers"][worker.name], power[name].get(worker.role.stage)
            own["mean_power_w"] = known and _mean_power_w(worker, own, known, float(tokens.get(worker.name, 0)))
            drawn.append(own["mean_power_w"])
            if arm.sizes is not None and pool_of(entry, own)["elastic"]:
                # When it was off is known of its pool alone.
                own["mean_power_w"] = None
        if None not in drawn:
            drawn += [
                -_off_w(pool, arm, entry, power[name]) for pool in entry.get("pools", {}).values() if pool["elastic"]
            ]
        entry["energy_j_per_output_token"] = (
            None if None in drawn else per(sum(drawn), entry["output_throughput_window"] or 0)
        )


def _off_w(pool: Mapping[str, Any], arm: ArmResult, entry: Mapping[str, Any], power: Mapping[Stage, Power]) -> float:
    """Idle power of an elastic pool's workers over the time in which they were off."""
    own = [worker for worker in arm.workers if pool_of(entry, entry["workers"][worker.name]) is pool]
    return power[own[0].role.stage].idle_w * (sum(worker.gpus for worker in own) - pool["mean_gpus"]) if own else 0.0


def _mean_power_w(worker: WorkerRecord, entry: Mapping[str, Any], power: Power, prompt_tokens: float) -> float | None:
    """Over the window, of all its GPUs: at the mean size of its steps while it is busy."""
    busy = entry["utilisation"]
    if busy is None:
        return None
    if not busy:
        return worker.gpus * power.idle_w
    match worker.role.stage:
        case Stage.DECODE:
            busy_w = power.decode_w(entry["mean_batch"] / busy)
        case Stage.PREFILL:
            busy_w = power.prefill_w(prompt_tokens / max(worker.steps, 1))
        case Stage.COLOCATED:
            # Steps that mix decodes and prompts have no power of their own.
            busy_w = None
    return None if busy_w is None else worker.gpus * (busy * busy_w + (1 - busy) * power.idle_w)
