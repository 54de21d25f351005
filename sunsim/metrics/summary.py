"""From the rows of every arm to the content of `summary.json`."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from sunsim.metrics.limits import limiting_stage, mean_times_ms, prefill_headroom
from sunsim.metrics.overload import decode_wait_in_tpot, overloaded
from sunsim.metrics.rows import Requests, Window, places_of
from sunsim.metrics.serving import per, rated, serving
from sunsim.metrics.slo import Slo, limits_each, limits_of
from sunsim.metrics.workers import worker_entry
from sunsim.records import ArmResult, WorkerRecord

SCHEMA_VERSION = 1


def summarize(
    arms: Sequence[ArmResult],
    window: Window,
    *,
    slo: Slo,
    worst_window_s: float | None = None,
    meta: Mapping[str, Any],
    stop_s: float | None = None,
    model_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Reduce every arm to its metrics; `meta` (scenario, seed, versions, profile hashes) is carried along.

    Args:
        window: the measured interval; in the summary ``too_short`` says that it tells no rates.
        slo: see `sunsim.metrics.slo`.
        worst_window_s: asks for the worst window of this length, where there is a limit.
        stop_s: when the run was stopped; None if it went on until all had finished.
        model_names: have an entry too where they got no request; the hot and the coldest model are of those with some.

    Returns:
        Keys of an arm are declared in `sunsim.metrics.registry`. What is not defined is None, so that JSON never holds
        NaN.
    """
    window = rated(window, (Requests.from_rows(arm.rows) for arm in arms))
    models = arms[0].rows["model"].value_counts()
    by_popularity = sorted(arms[0].rows["model"].unique(), key=lambda name: -int(models[name]))
    summary = {
        "schema_version": SCHEMA_VERSION,
        **meta,
        "window": asdict(window),
        "slo": slo or None,
        "worst_window_s": worst_window_s if slo else None,
        "hot_model": by_popularity[0],
        "coldest_model": by_popularity[-1],
        "arms": {
            str(arm.rows["arm"].iloc[0]): _arm(arm, window, slo, worst_window_s, stop_s, model_names) for arm in arms
        },
    }
    plain: dict[str, Any] = _plain(summary)
    return plain


def to_json(summary: Mapping[str, Any]) -> str:
    """The text of `summary.json`."""
    return json.dumps(summary, indent=2, allow_nan=False) + "\n"


def _arm(
    arm: ArmResult,
    window: Window,
    slo: Slo,
    worst_window_s: float | None,
    stop_s: float | None,
    model_names: Sequence[str],
) -> dict[str, Any]:
    requests = Requests.from_rows(arm.rows)
    duration_s = _duration_s(requests, stop_s)
    models = {}
    of_model = places_of(arm.rows["model"])
    for name in sorted({*model_names, *of_model}, key=_natural):
        own = requests.where(of_model[name])
        models[name] = {
            **serving(own, window, limits_of(slo, name), duration_s, worst_window_s),
            "overloaded": overloaded(own, window),
            "decode_wait_in_tpot": decode_wait_in_tpot(own),
        }

    sent_back_in_s = duration_s if _sends_back(arm.workers) else None
    served = {stage: places_of(arm.rows[f"{stage}_worker"]) for stage in ("prefill", "decode")}
    workers, waits_ms = {}, {}
    for worker in arm.workers:
        own = requests.where(served[worker.role.counted_as][worker.name])
        workers[worker.name] = worker_entry(worker, own, window, sent_back_in_s=sent_back_in_s)
        waits_ms[worker.name] = mean_times_ms(own.where(window.holds(own.arrival_s)))
    decode_gpus = sum(worker.gpus for worker in arm.workers if worker.role.decodes)
    gpus = sum(worker.gpus for worker in arm.workers)
    entry: dict[str, Any] = serving(requests, window, limits_each(slo, arm.rows["model"]), duration_s, worst_window_s)
    rate = entry["output_throughput_window"]
    shares = [w["mean_batch_share"] for w in workers.values() if w.get("mean_batch_share") is not None]
    return entry | {
        "decode_gpus": decode_gpus,
        "gpus": gpus,
        "output_throughput_per_decode_gpu": per(rate, decode_gpus),
        "output_throughput_per_gpu": per(rate, gpus),
        "mean_decode_batch_share": per(sum(shares), len(shares)),
        "overloaded": overloaded(requests, window) or any(model["overloaded"] for model in models.values()),
        "decode_wait_in_tpot": decode_wait_in_tpot(requests),
        "limiting": limiting_stage(workers, waits_ms),
        "prefill_headroom": prefill_headroom(workers),
        **_outside(arm.workers),
        "models": models,
        "workers": workers,
    }


def _sends_back(workers: Sequence[WorkerRecord]) -> bool:
    """Whether prefill had second passes: what decode preempts goes back there where decode cannot prefill it."""
    return any(worker.preemptions and not worker.role.recomputes for worker in workers)


def _duration_s(requests: Requests, stop_s: float | None) -> float:
    """First arrival to last token, or to the stop where that cut requests off (vLLM's `duration`)."""
    if stop_s is not None and not requests.taken.finished.all():
        return stop_s - float(requests.arrival_s.min())
    last_s = requests.last_token_s[requests.finished]
    return float(last_s.max() - requests.arrival_s.min()) if len(last_s) else 0.0


def _outside(workers: Sequence[WorkerRecord]) -> dict[str, Any]:
    """Steps of each stage, and which of them left the measured range of the profile."""
    steps: Counter[str] = Counter()
    outside: dict[str, Counter[str]] = {}
    for worker in workers:
        stage = worker.role.counted_as
        steps[stage] += worker.steps
        outside.setdefault(stage, Counter()).update(dict(sorted(worker.outside_measured.items())))
    share = {stage: per(reasons.total(), steps[stage]) for stage, reasons in outside.items()}
    return {"steps": steps, "outside_measured": outside, "outside_measured_share": share}


def _natural(name: str) -> tuple[str, int]:
    """m2 before m10."""
    head = name.rstrip("0123456789")
    return head, int(name[len(head) :] or -1)


def _plain(value: Any) -> Any:
    """The same in types that JSON has; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
