"""The noise floor: how far runs of one stream are from one another. No simulator can be closer than that."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from sunsim.metrics.serving import statistics
from sunsim.validation.bootstrap import error_percent
from sunsim.validation.targets import Relation, relation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sunsim.validation.actual import ActualRun

STATISTICS = ("mean", "median", "p99")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs of one stream; `change_percent` is the second against the first, by figure.

    Only requests that both runs have are compared.
    """

    stream: str
    first: str
    second: str
    relation: Relation
    requests: int
    change_percent: dict[str, float | None]


def noise_floor(runs: Sequence[ActualRun]) -> list[Pair]:
    """Every pair of runs of the same stream, role, model, variant and card, on equal engines."""
    return [pair for one, other in combinations(runs, 2) if (pair := pair_of(one, other))]


def pair_of(one: ActualRun, other: ActualRun) -> Pair | None:
    """The second run against the first; None if they are not of the same stream or not on equal engines."""
    if _what(one) != _what(other):
        return None
    place = {name: i for i, name in enumerate(other.request_ids)}
    both = [(i, place[name]) for i, name in enumerate(one.request_ids) if name in place]
    return _pair(one, other, np.array(both, dtype=np.int64)) if both else None


def _what(run: ActualRun) -> tuple[Any, ...]:
    meta = run.meta
    args = meta.engine_args
    # KV blocks differ a little from start to start, unless they were set.
    limits = (args.max_num_seqs, args.max_num_batched_tokens, (args.model_extra or {}).get("num_gpu_blocks_override"))
    return (meta.stream_key, meta.role, meta.model, meta.variant, meta.gpu, *limits)


def _pair(one: ActualRun, other: ActualRun, both: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Pair:
    changes: dict[str, float | None] = {}
    keys = ["ttft"] if one.meta.role == "prefill" else ["tpot", "ttft"]
    if one.served.waits and other.served.waits:
        keys.append("queueing")
    for key in keys:
        before = statistics(getattr(one.served, f"{key}_ms")[both[:, 0]], STATISTICS)
        after = statistics(getattr(other.served, f"{key}_ms")[both[:, 1]], STATISTICS)
        for name in STATISTICS:
            was, now = before[name], after[name]
            change = float("nan") if was is None or now is None else float(error_percent(now, was))
            changes[f"{name}_{key}_ms"] = None if np.isnan(change) else change
    return Pair(
        stream=one.meta.stream,
        first=one.name,
        second=other.name,
        relation=relation((one.meta.engine_start, one.meta.host), (other.meta.engine_start, other.meta.host)),
        requests=len(both),
        change_percent=changes,
    )
