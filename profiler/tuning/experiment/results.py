"""Accuracy files of the experiment, one a size, from the results of its jobs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from profiler.tuning.experiment.order import METHODS, Order, jobs_of, rate_name
from profiler.tuning.experiment.tasks import TASKS
from profiler.tuning.rows import SCHEMA_VERSION, Judged, row, seeds_of


def done(folder: Path, name: str) -> dict[str, Any]:
    """A job's result, empty if there is none."""
    file = folder / "done" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def tried_rates(folder: Path, order: Order, size: str, method: str) -> dict[str, float]:
    """The validation loss that each learning rate of a method led to."""
    found = {f"{rate:g}": done(folder, rate_name(size, method, rate)) for rate in order.rates[method]}
    return {rate: tried["validation_loss"] for rate, tried in found.items() if tried}


def best_rate(folder: Path, order: Order, size: str, method: str) -> float | None:
    """The learning rate with the lowest loss, or the only one; None if there are several and none was tried."""
    if len(order.rates[method]) == 1:
        return order.rates[method][0]
    tried = tried_rates(folder, order, size, method)
    return float(min(tried, key=lambda rate: tried[rate])) if tried else None


def read_records(folder: Path, order: Order) -> list[dict[str, Any]]:
    """What each method's modules have answered to each task with each seed, where that is known; with how they were tuned."""
    found = []
    for job in jobs_of(order):
        if job.kind == "tuning" and (result := done(folder, job.name)):
            about = {"size": job.size, "task": job.task, "seed": job.seed}
            how = {name: result[name] for name in ("learning_rate", "seconds", "curve")}
            for method, answers in result["answers"].items():
                tuned = how if method == job.method else {}
                found.append(about | {"method": method, **answers, **tuned})
    return found


def accuracy_file(
    folder: Path, order: Order, size: str, records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of the accuracy file of a size; only seeds for which a task has all its methods count, so that rows can
    be compared.

    Args:
        folder: of the experiment.
        order: what was asked.
        size: one of its sizes.
        records: of all sizes.
        about: measured, card, command and the like, put into it.
    """
    pretrained = done(folder, f"pretrain-{size}")
    rows, curves = [], []
    for task in order.tasks:
        of_seed: dict[int, dict[str, Mapping[str, Any]]] = {}
        for record in records:
            if record["size"] == size and record["task"] == task:
                of_seed.setdefault(record["seed"], {})[record["method"]] = record
        whole = {seed: found for seed, found in of_seed.items() if len(found) == len(METHODS)}
        for method in METHODS if whole else ():
            found = [of[method] for of in whole.values()]
            rows.append(
                {
                    **row(method, task, {str(record["seed"]): _judged(record) for record in found}),
                    "kind": TASKS[task].kind,
                }
            )
            if "curve" in found[0]:
                curves.append({"method": method, "task": task, **_mean_curve(found)})
    return {
        "schema_version": SCHEMA_VERSION,
        "model": f"synthetic-{size}",
        "parameters": pretrained.get("parameters"),
        **about,
        "versions": pretrained.get("versions"),
        "seeds": seeds_of(rows),
        "tasks": list(dict.fromkeys(each["task"] for each in rows)),
        "boundary": order.boundary,
        "rows": rows,
        "pretraining": {
            key: pretrained.get(key) for key in ("steps", "tokens", "seconds", "exact_match", "curve", "device")
        },
        "tuning": {
            "examples": order.train,
            "steps": order.steps,
            "batch_size": order.batch,
            "lora_rank": order.lora_rank,
            "learning_rates": {method: best_rate(folder, order, size, method) for method in order.rates},
            "validation_losses": {method: tried_rates(folder, order, size, method) for method in order.rates},
        },
        "curves": curves,
    }


def _judged(record: Mapping[str, Any]) -> Judged:
    return Judged(*(np.array(record[part.name]) for part in fields(Judged)))


def _mean_curve(found: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Means over seeds at each point of the curve."""
    points = np.array([record["curve"] for record in found]).mean(0)
    steps, training, validation = points.T
    return {
        "steps": steps.astype(int).tolist(),
        "training_loss": training.round(5).tolist(),
        "validation_loss": validation.round(5).tolist(),
    }
