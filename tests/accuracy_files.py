"""Accuracy files for tests: every method on two tasks, made up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TASKS = ("sums", "calls")
SHARES: Mapping[str, float] = {
    "base": 0.1,
    "full": 0.9,
    "full-int4": 0.88,
    "full-prefill-base-decode": 0.2,
    "prefill-only": 0.89,
    "prefill-only-int4": 0.7,
    "prefill-only-int4-tuned": 0.88,
    "lora": 0.85,
}


def accuracy_document(shares: Mapping[str, float] = SHARES, tasks: tuple[str, ...] = TASKS) -> dict[str, Any]:
    """The same share of each method on every task and with each of three seeds."""
    rows = [
        {
            "method": method,
            "task": task,
            "exact_match": share,
            "low": max(0.0, share - 0.03),
            "high": min(1.0, share + 0.04),
            "token_accuracy": share,
            "requests": 30_000,
            "exact_match_by_seed": {str(seed): share for seed in range(3)},
        }
        for method, share in shares.items()
        for task in tasks
    ]
    return {
        "schema_version": 1,
        "model": "made-up-30m",
        "parameters": 30_200_000,
        "measured": "2026-11-29",
        "card": "Test GPU",
        "command": "python -m profiler accuracy --out results",
        "seeds": 3,
        "tasks": list(tasks),
        "rows": rows,
    }


def write_accuracy(path: Path, **changed: Any) -> Path:
    """Writes one with other values at its top."""
    path.write_text(json.dumps(accuracy_document() | changed), encoding="utf-8")
    return path
