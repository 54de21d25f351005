"""Accuracy files of the experiment, one a size, from the records of its cells."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.tuning.experiment.order import METHODS, Order, rate_name
from profiler.tuning.experiment.tasks import TASKS
from profiler.tuning.rows import SCHEMA_VERSION, Judged, row, seeds_of


def record_file(folder: Path, size: str, task: str, seed: int, method: str) -> Path:
    """Of what came of one method in a cell; it is there as soon as that is known."""
    return folder / "records" / f"{size}.{task}.{seed}.{method}.json"


def read_records(folder: Path) -> list[dict[str, Any]]:
    """What cells have recorded, in the order of their names."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted((folder / "records").glob("*.json"))]


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


def accuracy_files(folder: Path, order: Order, about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The content of an accuracy file for each size with records.

    Args:
        folder: of the experiment.
        order: what was asked.
        about: measured, card, command and the like, put into each.
    """
    records = read_records(folder)
    sizes = [size for size in order.sizes if any(record["size"] == size for record in records)]
    return {size: accuracy_file(folder, order, size, records, about) for size in sizes}


def accuracy_file(
    folder: Path, order: Order, size: str, records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of one; only seeds for which a task has all its methods count, so that rows can be compared."""
    pretrained = done(folder, f"pretrain-{size}")
    rows, curves = [], []
    for task in order.tasks:
        of_seed: dict[int, dict[str, Mapping[str, Any]]] = {}
        for record in records:
            if record["size"] == size and record["task"] == task:
                of_seed.setdefault(record["seed"], {})[record["method"]] = record
        whole = {seed: found for seed, found in sorted(of_seed.items()) if set(found) == set(METHODS)}
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
    return Judged(
        exact=np.array(record["exact"], bool),
        matched=np.array(record["matched"], np.int64),
        wanted=np.array(record["wanted"], np.int64),
    )


def _mean_curve(found: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Means over seeds at each point of the curve."""
    points = np.array([record["curve"] for record in found]).mean(0)
    steps, training, validation = points.T
    return {
        "steps": steps.astype(int).tolist(),
        "training_loss": training.round(5).tolist(),
        "validation_loss": validation.round(5).tolist(),
    }
