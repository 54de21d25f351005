"""The noise floor: how far runs of the same are from one another. No simulator can be closer than that."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from sunsim.metrics.serving import Numbers, latency
from sunsim.validation.figures import change_percent
from sunsim.validation.served import Ints
from sunsim.validation.targets import Relation, relation
from sunsim.validation.worker_run import ActualRun

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
    change_percent: Numbers


def noise_floor(runs: Sequence[ActualRun]) -> list[Pair]:
    """Every pair of runs of the same stream, role, model, variant and card, on equal engines."""
    return [pair for one, other in combinations(runs, 2) if (pair := pair_of(one, other))]


def pair_of(one: ActualRun, other: ActualRun) -> Pair | None:
    """The second run against the first; None if they are not of the same stream or not on equal engines."""
    if _what(one) != _what(other):
        return None
    place = {name: i for i, name in enumerate(other.request_ids)}
    both = [(i, place[name]) for i, name in enumerate(one.request_ids) if name in place]
    return _pair(one, other, *np.array(both, dtype=np.int64).T) if both else None


def _what(run: ActualRun) -> tuple[Any, ...]:
    meta = run.meta
    args = meta.engine_args
    # KV blocks differ a little from start to start, unless they were set.
    limits = (args.max_num_seqs, args.max_num_batched_tokens, (args.model_extra or {}).get("num_gpu_blocks_override"))
    stream = meta.csv_sha256 or meta.stream
    return (stream, meta.role, meta.model, meta.variant, meta.gpu, meta.speculative_config, *limits)


def _pair(one: ActualRun, other: ActualRun, in_one: Ints, in_other: Ints) -> Pair:
    changes: Numbers = {}
    keys = ["ttft"] if one.meta.prefills_only else ["tpot", "ttft"]
    if one.served.waits and other.served.waits:
        keys.append("queueing")
    for key in keys:
        before, after = (
            latency(key, getattr(run.served, f"{key}_ms")[which], STATISTICS)
            for run, which in ((one, in_one), (other, in_other))
        )
        changes |= {tag: change_percent(after[tag], before[tag]) for tag in before}
    return Pair(
        stream=one.meta.stream,
        first=one.name,
        second=other.name,
        relation=relation((one.meta.engine_start, one.meta.host), (other.meta.engine_start, other.meta.host)),
        requests=len(in_one),
        change_percent=changes,
    )
