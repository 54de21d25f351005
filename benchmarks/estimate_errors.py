"""How far off estimates are: measured profiles, estimated from other measured ones, and the errors by what is changed."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from sunsim.estimate.errors import Kinds
from sunsim.estimate.scale import scaled
from sunsim.estimate.source import Source
from sunsim.latency.curves import PrefillCurve
from sunsim.latency.decode import DecodeTimes
from sunsim.latency.measured import ProfileData
from sunsim.report.format import together

BATCHES = (8, 64)
"""The most of each range of batch sizes but the last."""
TOKENS = (512, 2048)
"""The same of a prefill step's tokens; up to the first it may run as a captured graph."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Of an estimate's steps of one stage, estimated over measured less one, by range of batch sizes or tokens."""

    ranges: Sequence[Sequence[float]]

    @property
    def mean(self) -> float:
        """Each range counts the same."""
        return fmean(map(fmean, self.ranges))

    @property
    def size(self) -> float:
        """Mean size, each range counts the same."""
        return fmean(fmean(map(abs, errors)) for errors in self.ranges)

    @property
    def worst(self) -> float:
        """Of one point."""
        return max((error for errors in self.ranges for error in errors), key=abs)

    @property
    def slower(self) -> float:
        """By how much the measured steps of a range were slower than estimated, where that is most; at least 0."""
        least = min(0.0, *map(fmean, self.ranges))
        return 1 / (1 + least) - 1


@dataclass(frozen=True, slots=True)
class Pair:
    """A measured profile, estimated from another measured one.

    Attributes:
        changed: in what they differ.
        kind: of the first of these, with its direction.
        blocks: relative error of `num_gpu_blocks`.
    """

    source: str
    target: str
    changed: tuple[str, ...]
    kind: str
    decode: Errors
    prefill: Errors
    blocks: float


def compare(source: Source, target: Source) -> Pair:
    """One pair; nothing of the target's measurements goes into its estimate."""
    measured = target.profile.data
    ours, theirs = source.worker, target.worker
    changed = ours.differs(theirs)
    raw = scaled(source, theirs, measured.model, measured.variant)
    estimated = ProfileData.model_validate_json(json.dumps(raw))
    return Pair(
        source.profile.name,
        target.profile.name,
        changed,
        ours.kind(changed[0], theirs),
        _decode(estimated, measured),
        _prefill(estimated, measured),
        estimated.num_gpu_blocks / measured.num_gpu_blocks - 1,
    )


def pairs(sources: Sequence[Source]) -> list[Pair]:
    """Each estimated from each other one."""
    return [compare(source, target) for source in sources for target in sources if source is not target]


def by_kind(found: Iterable[Pair]) -> Kinds:
    """Of each kind of change, over the pairs that change nothing else: percent, in the mean over them, or at most."""
    alone = together((pair.kind, pair) for pair in found if len(pair.changed) == 1)
    return {kind: _over(of_kind) for kind, of_kind in sorted(alone.items())}


def _over(found: list[Pair]) -> dict[str, float]:
    errors = {
        "decode_typical": fmean(pair.decode.size for pair in found),
        "decode_slower": max(pair.decode.slower for pair in found),
        "prefill_typical": fmean(pair.prefill.size for pair in found),
        "prefill_slower": max(pair.prefill.slower for pair in found),
        "blocks": fmean(abs(pair.blocks) for pair in found),
    }
    return {"pairs": len(found)} | {key: round(100 * value, 1) for key, value in errors.items()}


def _decode(estimated: ProfileData, measured: ProfileData) -> Errors:
    """Lines through the estimated steady batches against the measured ones."""
    times = DecodeTimes(estimated.decode_points, estimated.cudagraph_capture_sizes)
    steady = [point for point in measured.decode_points if point.lengths == "uniform"]
    return _errors(
        BATCHES,
        [(p.batch, times.steady(p.batch).ms(p.context_tokens) / p.step_ms_median - 1) for p in steady],
    )


def _prefill(estimated: ProfileData, measured: ProfileData) -> Errors:
    """The curve through the estimated even prompts against the measured ones that followed one another."""
    curve = PrefillCurve.fit(estimated.prefill_points)
    even = [point for point in measured.prefill_points if point.lengths == "uniform" and not point.idle_start]
    return _errors(
        TOKENS,
        [(p.new_tokens, curve.step_ms(p.new_tokens, p.attended_pairs) / p.step_ms_median - 1) for p in even],
    )


def _errors(limits: Sequence[int], found: Sequence[tuple[int, float]]) -> Errors:
    """By range of what comes first."""
    ranges: list[list[float]] = [[] for _ in range(len(limits) + 1)]
    for amount, error in found:
        ranges[bisect_left(limits, amount)].append(error)
    return Errors([errors for errors in ranges if errors])
