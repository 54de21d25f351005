"""What the pools of an arm held and did inside the window; there only where a pool of the scenario is elastic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sunsim.metrics.held import STATES, Held, PoolKey, held_by_pool, sizes_by_pool
from sunsim.metrics.rows import Floats, Requests, Window, places_of
from sunsim.metrics.serving import Figures, per
from sunsim.records import ArmResult

SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Workers of one stage that serve the same models.

    Attributes:
        stage: as files have it.
        model: the one that it serves, ``*`` for all.
        busy_gpus: of its GPUs, those of workers with something to do, in the mean over the window.
        waits_s: of each request that arrived inside the window and went on to it, how long it waited for that while a
            worker of the pool was starting.
    """

    stage: str
    model: str
    held: Held
    elastic: bool
    busy_gpus: float
    waits_s: Floats


def add_pools(summary: Mapping[str, Any], arms: Sequence[ArmResult]) -> None:
    """Adds what their pools held to all arms of a summary, if a pool of any is elastic; GPUs of that arm become means.

    Args:
        summary: of `arms`, in their order.
        arms: as simulated.
    """
    if all(arm.sizes is None for arm in arms):
        return
    window = Window(**summary["window"])
    for entry, arm in zip(summary["arms"].values(), arms, strict=True):
        entry.update(pool_figures(arm, entry["workers"], window))
        if arm.sizes is not None:
            entry.update(_means(arm, entry))


def pool_figures(arm: ArmResult, workers: Mapping[str, Figures], window: Window) -> Figures:
    """What an arm's pools held inside the window: all of them, and under `pools` each stage's and each model's.

    Args:
        workers: the arm's entries of the summary, by name.
    """
    pools = _pools(arm, workers, window)
    of_stage: dict[str, list[Pool]] = {}
    for pool in pools:
        of_stage.setdefault(pool.stage, []).append(pool)
    found = {}
    for stage, own in of_stage.items():
        found[stage] = _entry(stage, "*", own, window)
        found |= {
            f"{stage}/{pool.model}": _entry(stage, pool.model, [pool], window) for pool in own if pool.model != "*"
        }
    return {**held_figures([pool.held for pool in pools], window), "pools": found}


def _means(arm: ArmResult, entry: Figures) -> Figures:
    """Of an elastic arm, what a fixed one has of its number of GPUs; its own are those that it held in the mean."""
    decode_gpus = entry["pools"].get("decode", {}).get("mean_gpus", 0.0)
    rate, decoders = entry["output_throughput_window"], [worker for worker in arm.workers if worker.role.decodes]
    places = sum(entry["workers"][worker.name]["mean_batch_share"] or 0.0 for worker in decoders)
    return {
        "decode_gpus": decode_gpus,
        "gpus": entry["mean_gpus"],
        "output_throughput_per_decode_gpu": per(rate, decode_gpus),
        "output_throughput_per_gpu": per(rate, entry["mean_gpus"]),
        "mean_decode_batch_share": per(places * decoders[0].gpus, decode_gpus)
        if decoders and rate is not None
        else None,
    }


def pool_of(entry: Mapping[str, Any], worker: Mapping[str, Any]) -> Figures:
    """The entry of a worker's pool, in an arm's entry that has pools."""
    pools: Mapping[str, Figures] = entry["pools"]
    stage, model = worker["stage"], worker["model"]
    return pools[stage if model == "*" else f"{stage}/{model}"]


def _pools(arm: ArmResult, workers: Mapping[str, Figures], window: Window) -> list[Pool]:
    """In the order of the workers."""
    every = Requests.from_rows(arm.rows)
    arrived = every.where(window.holds(every.arrival_s))
    of_model = places_of(arm.rows["model"][window.holds(every.arrival_s)])
    busy: dict[PoolKey, float] = {}
    for entry in workers.values():
        key = (entry["stage"], entry["model"])
        busy[key] = busy.get(key, 0.0) + entry["gpus"] * (entry["utilisation"] or 0.0)
    elastic = sizes_by_pool(arm.sizes)
    return [
        Pool(
            *key,
            held=held,
            elastic=key in elastic,
            busy_gpus=busy[key],
            waits_s=_wait_while_starting_s(key[0], held, arrived if key[1] == "*" else arrived.where(of_model[key[1]])),
        )
        for key, held in held_by_pool(workers, arm.sizes).items()
    ]


def _entry(stage: str, model: str, pools: Sequence[Pool], window: Window) -> Figures:
    held = held_figures([pool.held for pool in pools], window)
    grown, shrunk = (sum(moves) for moves in zip(*(pool.held.moves(window) for pool in pools), strict=True))
    waits_s = np.concatenate([pool.waits_s for pool in pools])
    return {
        "stage": stage,
        "model": model,
        "elastic": any(pool.elastic for pool in pools),
        **held,
        "grown": grown,
        "shrunk": shrunk,
        "utilisation": per(sum(pool.busy_gpus for pool in pools), held["mean_gpus"]) if window.length_s else None,
        "mean_wait_while_starting_ms": float(waits_s.mean()) * 1000 if len(waits_s) else None,
    }


def held_figures(parts: Sequence[Held], window: Window) -> Figures:
    """GPU-hours, mean and most GPUs that some pools held together, and the share of it in each state but ready."""
    held = Held.total(parts)
    states = dict(zip(STATES, held.mean(window).tolist(), strict=True))
    mean = sum(states.values())
    return {
        "gpu_hours": mean * (window.end_s - window.start_s) / SECONDS_AN_HOUR,
        "mean_gpus": mean,
        "peak_gpus": held.peak(window),
        **{f"{state}_share": per(states[state], mean) for state in STATES if state != "ready"},
    }


def _wait_while_starting_s(stage: str, held: Held, requests: Requests) -> Floats:
    """How long each request waited for a pool of this stage while a worker of it was starting."""
    r = requests
    if stage == "prefill":
        waited_s = held.starting_s(r.arrival_s, r.prefill_start_s)
    else:
        waited_s = held.starting_s(
            np.fmax(r.arrival_s, r.prefill_end_s), np.fmin(r.transfer_start_s, r.decode_scheduled_s)
        )
    return waited_s[~np.isnan(waited_s)]
