"""A closer look at one simulation: the summary of its arm, and its workers over time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sunsim.measured import summary_of
from sunsim.metrics.intervals import Level
from sunsim.metrics.rows import Floats, Requests, Window, places_of
from sunsim.metrics.workers import decode_kv, running
from sunsim.records import ArmResult
from sunsim.scenario import Scenario

SAMPLES = 150


def portrait(scenario: Scenario, result: ArmResult, window: Window) -> dict[str, Any]:
    """The arm's entry of a summary under ``entry``, and ``over_time``: lists of `SAMPLES` values.

    Batches and KV occupancy are given for the fullest worker at each time and as the mean over the workers.
    """
    summary = summary_of(scenario, [result], window)
    (entry,) = summary["arms"].values()
    return {
        "entry": entry,
        "hot_model": summary["hot_model"],
        "coldest_model": summary["coldest_model"],
        "window_too_short": summary["window"]["too_short"],
        "over_time": _over_time(result, window),
    }


def _over_time(result: ArmResult, window: Window) -> dict[str, list[float]]:
    requests = Requests.from_rows(result.rows)
    time_s = np.linspace(np.floor(requests.arrival_s[0]), window.end_s, SAMPLES)
    series: dict[str, Floats] = {"time_s": time_s}
    begun_s = {"prefill": requests.prefill_start_s, "decode": requests.decode_scheduled_s}
    came_s = {"prefill": requests.arrival_s, "decode": np.fmax(requests.arrival_s, requests.prefill_end_s)}
    for stage in dict.fromkeys(worker.role.counted_as for worker in result.workers):
        series[f"{stage}_waiting"] = Level.count(came_s[stage], begun_s[stage]).at(time_s)
    decode = [worker for worker in result.workers if worker.role.decodes]
    if decode:
        places = places_of(result.rows["decode_worker"])
        served = [requests.where(places[w.name]) for w in decode]
        _summed(series, "batch", [running(own).at(time_s) for own in served])
        if not any(worker.preemptions or worker.prefix_cache_queries for worker in decode):
            pairs = zip(decode, served, strict=True)
            _summed(series, "kv", [decode_kv(w, own).at(time_s) / w.num_gpu_blocks for w, own in pairs])
    return {name: np.round(values, 4).tolist() for name, values in series.items()}


def _summed(series: dict[str, Floats], name: str, of_workers: Sequence[Floats]) -> None:
    together = np.stack(of_workers)
    series[f"{name}_fullest"] = together.max(axis=0)
    series[f"{name}_mean"] = together.mean(axis=0)
