"""How far the step model of a profile is off on the profile's own traffic, after all of it has been learned from.

Stands apart from `sunsim.latency`: whoever simulates has no use for it, and points that were simulated stay valid when it
changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from sunsim.latency.attention import LengthMix
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile

BATCHES = (8, 32, 64, 128, 256)
CONTEXTS = (500, 1000, 2000, 4000, 8000)
"""Where bands of batch sizes, and of tokens of context a request, end: the next one begins above."""


@dataclass(frozen=True, slots=True)
class Residual:
    """Some steps of traffic.

    Attributes:
        steps: how many.
        error: of all their time, relative: below 0 if the model is short.
    """

    steps: int
    error: float


@dataclass(frozen=True, slots=True)
class Residuals:
    """Steps of the sweeps of traffic whose requests' lengths are known.

    Attributes:
        by_sweep: by its name, in the profile's order.
        by_band: by band of batch sizes and of context a request, each counted from 0; only where there are steps.
    """

    by_sweep: dict[str, Residual]
    by_band: dict[tuple[int, int], Residual]


def residuals(profile: Profile) -> Residuals:
    """The model that a simulation of each sweep's requests would use, against the sweep's steps."""
    rows = []
    for served in profile.data.served_lengths:
        model = LatencyModel(profile, LengthMix(tuple(served.prompt_tokens), tuple(served.output_tokens)))
        for point in profile.data.decode_points:
            if point.lengths == "traffic" and point.traffic == served.traffic:
                said_ms = model.decode_step_ms(point.batch, round(point.context_tokens))
                each = point.context_tokens / point.batch
                times_ms = point.steps * said_ms, point.steps * point.step_ms_mean
                rows.append(
                    (served.traffic, _band(point.batch, BATCHES), _band(each, CONTEXTS), point.steps, *times_ms)
                )
    steps = pd.DataFrame(rows, columns=["sweep", "batches", "contexts", "steps", "said_ms", "took_ms"])
    return Residuals(_errors(steps, "sweep"), _errors(steps, ["batches", "contexts"]))


def _band(value: float, ends: Sequence[int]) -> int:
    return bisect_left(ends, value)


def _errors(steps: pd.DataFrame, by: str | list[str]) -> dict[Any, Residual]:
    sums = steps.groupby(by, sort=False)[["steps", "said_ms", "took_ms"]].sum()
    return {
        key: Residual(int(steps), said_ms / took_ms - 1)
        for key, (steps, said_ms, took_ms) in zip(sums.index, sums.to_numpy().tolist(), strict=True)
    }


def band_names(ends: tuple[int, ...]) -> list[str]:
    """What bands that end so are called: up to 8, 9 to 32, ..., over 256."""
    between = [f"{low + 1:,} to {high:,}" for low, high in pairwise(ends)]
    return [f"up to {ends[0]:,}", *between, f"over {ends[-1]:,}"]
