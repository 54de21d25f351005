"""Which stage holds an arm back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sunsim.metrics.rows import Floats, Requests
from sunsim.metrics.serving import stage_times_s
from sunsim.roles import Stage

SMALL_WAIT_MS = 100.0
BUSY = 0.9
FULL = 0.97
HEADROOM = 0.70


def prefill_headroom(workers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The busiest prefill worker and the names of those busy for more than 70 % of the window."""
    busy = {
        name: entry["utilisation"]
        for name, entry in workers.items()
        if entry["stage"] == Stage.PREFILL and entry["utilisation"] is not None
    }
    if not busy:
        return None
    hottest = max(busy, key=busy.__getitem__)
    above = [name for name, share in busy.items() if share > HEADROOM]
    return {"hottest_worker": hottest, "utilisation": busy[hottest], "above_70_percent": above}


def mean_times_ms(requests: Requests) -> dict[str, float]:
    """Mean milliseconds that these requests spent in each stage, 0 in one that none has passed."""
    return {stage: _mean_ms(values_s) for stage, values_s in stage_times_s(requests).items()}


def limiting_stage(
    workers: Mapping[str, Mapping[str, Any]], times_ms: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The stage and worker whose requests wait longest for it, in the mean; `none` if no wait reaches 100 ms.

    A decode worker pulls KV only when it has a place and the blocks, so a full one shows as a wait for the transfer
    and, once it pins the prefill worker's blocks, as a queue before a prefill worker that is not busy. One whose KV is
    pulled at once pins nothing: then a queue before prefill is of bursts that prefill alone is behind with.
    """
    waits = [(wait_ms, stage, name) for name in workers for stage, wait_ms in _waits(workers[name], times_ms[name])]
    wait_ms, stage, name = max(waits, default=(0.0, "none", None))
    if wait_ms < SMALL_WAIT_MS:
        return {"stage": "none", "worker": None, "mean_wait_ms": wait_ms}
    full = [
        (entry["mean_batch"], other)
        for other, entry in workers.items()
        if _is_full(entry) and times_ms[other]["transfer_wait"] >= SMALL_WAIT_MS
    ]
    if stage == "prefill" and full and workers[str(name)]["utilisation"] < BUSY:
        stage, name = "decode", max(full)[1]
    return {"stage": stage, "worker": name, "mean_wait_ms": wait_ms}


def _waits(entry: Mapping[str, Any], mean_ms: Mapping[str, float]) -> list[tuple[str, float]]:
    """Mean waits for this worker in milliseconds, each under the stage that causes it."""
    if entry["stage"] == Stage.PREFILL:
        return [("prefill", mean_ms["prefill_queue"])]
    # Where occupancy is not known, as with a prefix cache, who had places left lacked blocks.
    lacked_blocks = entry["peak_kv_occupancy"] is None and (entry["peak_places"] or 0) < entry["max_num_seqs"]
    held_up = "decode" if lacked_blocks or _is_full(entry) else "transfer"
    return [("decode", mean_ms["decode_wait"]), (held_up, mean_ms["transfer_wait"]), ("transfer", mean_ms["transfer"])]


def _is_full(entry: Mapping[str, Any]) -> bool:
    """Whether a decode worker ran out of places or KV blocks, other than by places that wait for the link."""
    if entry["stage"] != Stage.DECODE or entry["peak_places"] is None:
        return False
    no_place = entry["peak_batch"] >= entry["max_num_seqs"] / 2 and entry["peak_places"] >= entry["max_num_seqs"]
    # A preemption is want of KV blocks, and leaves their occupancy unknown.
    no_block = entry["preemptions"] > 0 or (entry["peak_kv_occupancy"] or 0.0) >= FULL
    return bool(no_place or no_block)


def _mean_ms(values_s: Floats) -> float:
    known = values_s[~np.isnan(values_s)]
    return float(known.mean() * 1000) if len(known) else 0.0
