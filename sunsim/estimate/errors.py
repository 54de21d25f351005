"""How far off estimates are, by what they change: from pairs of measured profiles, kept in `errors.json`.

``python -m benchmarks.estimates --write`` makes the file anew. The errors of several changes are added up, as if all went
the same way; what no pair changes is named, and its error is not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from sunsim.estimate.source import Source
from sunsim.estimate.worker import Worker
from sunsim.latency.estimated import StepErrors

FILE = Path(__file__).with_name("errors.json")
LARGER = 2
"""So many times as large or small as the source a model's size counts as a change that no pair tells of."""
Kinds = dict[str, dict[str, float]]


@cache
def kept() -> Kinds:
    """As the file has them."""
    kinds: Kinds = json.loads(FILE.read_text(encoding="utf-8"))
    return kinds


def errors_of(source: Source, target: Worker) -> dict[str, Any]:
    """What an estimate says of its errors: `decode`, `prefill`, `blocks_percent`, and what is `unknown`."""
    changed = source.worker.differs(target)
    known, kinds = kept(), [source.worker.kind(change, target) for change in changed]
    found = [known[kind] for kind in kinds if kind in known]
    stages = {
        stage: StepErrors(
            typical_percent=_sum(each[f"{stage}_typical"] for each in found),
            slower_percent=_sum(each[f"{stage}_slower"] for each in found),
        ).model_dump()
        for stage in ("decode", "prefill")
    }
    return {**stages, "blocks_percent": _sum(each["blocks"] for each in found), "unknown": _unknown(source, target)}


def _sum(percents: Iterable[float]) -> float:
    return round(sum(percents), 1)


def _unknown(source: Source, target: Worker) -> list[str]:
    """Changes that no pair of measured profiles has, and what these measured nothing of."""
    ours = source.worker
    found = []
    if target.card.architecture != ours.card.architecture:
        found.append(f"{target.card.architecture} instead of {ours.card.architecture}")
    times = target.linear * target.gpus / (ours.linear * ours.gpus)
    if not 1 / LARGER <= times <= LARGER:
        found.append(f"a model {times:.2g} times as large")
    if target.gpus != ours.gpus:
        found.append("tensor parallel")
    if ours.drafts:
        found.append("steps with drafts")
    return found
