"""Decode steps of a profile's traffic and of committed runs, as columns that forms of the step time are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunsim.latency.attention import LengthMix, kernel_of
from sunsim.latency.decode import ALONE, TRIED, DecodeTimes
from sunsim.latency.measured import ProfileData
from sunsim.latency.traffic import LASTING, Floats
from sunsim.validation.folders import Campaign
from sunsim.validation.record import STEPS_SUFFIX
from sunsim.validation.served import Served
from sunsim.validation.steps import STALL
from sunsim.validation.worker_run import read_run

KNOTS = (1, 6, 16, 40, 96, 256)
"""Requests, at which a token of context has a time of its own; in between it is interpolated over their logarithm."""
SAME_MOMENT_S = 1e-4
"""Stamps of a token and of its step that are no further apart."""

SHAPES = {
    "iso-\nlated": r"iso-\w+|chat-isolated",
    "shared": r"sun\d-\w+|chat-shared(-again)?",
    "satu-\nrated": "saturated",
    "burst": "burst",
    "long": "long",
    "long\noutputs": "long-outputs",
    "two\nkinds": "two-kinds",
}
"""Shapes of traffic, and the names of the runs that decode such."""


def _slope(knot: int, steps: pd.DataFrame) -> Floats:
    """The share of a knot in each step, times its context."""
    at = np.interp(np.log(steps["batch"]), np.log(KNOTS), np.equal(KNOTS, knot))
    return np.asarray(at * steps["context_tokens"], np.float64)


SLOPES: dict[str, Callable[[pd.DataFrame], Floats]] = {f"slope {knot}": partial(_slope, knot) for knot in KNOTS}
FEATURES: dict[str, Callable[[pd.DataFrame], Floats | float]] = {
    "constant": lambda _: 1.0,
    "first requests": lambda steps: np.asarray(steps["batch"].clip(upper=LASTING), np.float64),
    "token by log2 batch": lambda steps: np.asarray(steps["context_tokens"] * np.log2(steps["batch"]), np.float64),
    "joined a step": lambda steps: np.asarray(steps["joined"] / steps["steps"], np.float64),
    **SLOPES,
}
"""What numbers are multiplied by, beside columns as they are recorded."""


class Start(Enum):
    """What a form's numbers are added to."""

    NOTHING = "nothing"
    STEADY = "steady lines"
    ATTENTION = "attention"


@dataclass(frozen=True, slots=True)
class Steps:
    """Decode steps of traffic.

    Attributes:
        columns: a row a step, or some that are alike: which sweep or run it is of (`traffic`), `step_ms`, `steps`,
            `batch`, `graph` (the captured size), `context_tokens`, and the `FEATURES`; and if recorded, `join_steps` and
            `after_join_steps` (share of the steps), `longest_tokens`, `context_std_tokens`.
        said_ms: what the profile's steady steps say of each, float64[n].
    """

    columns: pd.DataFrame
    said_ms: Mapping[tuple[Start, float], Floats]

    @classmethod
    def of(cls, recorded: pd.DataFrame, data: ProfileData, mixes: Mapping[str, LengthMix]) -> Steps:
        """Steps as recorded, those of `traffic` whose requests are known."""
        recorded = recorded[recorded["traffic"].isin([*mixes])].reset_index(drop=True)
        sizes = np.array(sorted(data.cudagraph_capture_sizes))
        at = np.searchsorted(sizes, recorded["batch"]).clip(max=len(sizes) - 1)
        columns = recorded.assign(graph=sizes[at], **FEATURES)
        batch = columns["batch"].to_numpy(np.int64)
        context_tokens = columns["context_tokens"].to_numpy(np.float64)
        times = DecodeTimes(data.decode_points, data.cudagraph_capture_sizes, kernel_of(data))
        steady = zip(batch.tolist(), context_tokens.tolist(), strict=True)
        order = [*mixes]
        mix = np.array([order.index(name) for name in columns["traffic"]], np.int64)
        said_ms = {(Start.NOTHING, ALONE): np.zeros(batch.size)}
        said_ms[Start.STEADY, ALONE] = np.array([times.steady(size).ms(tokens) for size, tokens in steady])
        for alone in TRIED:
            found = times.uncorrected_ms(batch, context_tokens, tuple(mixes.values()), mix, alone)
            said_ms[Start.ATTENTION, alone] = found
        return cls(columns, said_ms)

    @property
    def traffic(self) -> NDArray[np.str_]:
        """The sweep or run of each."""
        return self.columns["traffic"].to_numpy(np.str_)


def sweeps_of(data: ProfileData) -> Steps:
    """The traffic of a profile."""
    points = [point.model_dump() for point in data.decode_points if point.lengths == "traffic"]
    recorded = pd.DataFrame(points).rename(columns={"step_ms_mean": "step_ms"})
    for name in {"join_steps", "after_join_steps"} & set(recorded):
        recorded[name] /= recorded["steps"]
    mixes = {
        each.traffic: LengthMix(tuple(each.prompt_tokens), tuple(each.output_tokens)) for each in data.served_lengths
    }
    return Steps.of(recorded, data, mixes)


def runs_of(campaign: Campaign, data: ProfileData) -> Steps:
    """The decode steps of a campaign's runs that a shape is named for, the host's stalls left out."""
    recorded, mixes = [], {}
    for name, path in campaign.runs.items():
        if shape_of(name):
            served = read_run(path).served
            mixes[name] = LengthMix.of(served.prompt_tokens, served.output_tokens)
            recorded.append(_decode_steps(pd.read_parquet(path.with_name(name + STEPS_SUFFIX)), served, name))
    steps = Steps.of(pd.concat(recorded), data, mixes)
    usual = (steps.columns["step_ms"] < STALL * steps.said_ms[Start.STEADY, ALONE]).to_numpy()
    return Steps(steps.columns[usual], {key: said_ms[usual] for key, said_ms in steps.said_ms.items()})


def _decode_steps(recorded: pd.DataFrame, served: Served, name: str) -> pd.DataFrame:
    """A run's steps in the columns of a sweep; contexts follow from when each request had its tokens."""
    first, last = (
        np.searchsorted(recorded["end_s"], stamps_s + SAME_MOMENT_S) - 1
        for stamps_s in (served.first_token_s, served.last_token_s)
    )
    step = np.arange(len(recorded))[:, None]
    contexts = np.where((first <= step) & (step <= last), served.prompt_tokens + step - first, 0).astype(np.float64)
    batch = np.maximum(recorded["requests"], 1)
    joins = (recorded["joined"] > 0).astype(float)
    found = recorded.assign(
        traffic=name,
        steps=1,
        step_ms=recorded["step_s"] * 1000,
        batch=batch,
        join_steps=joins,
        after_join_steps=joins.shift(1, fill_value=0.0),
        longest_tokens=contexts.max(axis=1),
        context_std_tokens=np.sqrt(((contexts**2).sum(axis=1) / batch - (contexts.sum(axis=1) / batch) ** 2).clip(0)),
    )
    return found[(recorded["requests"] > 0) & (recorded["chunk_tokens"] == 0)]


def shape_of(run: str) -> str | None:
    """The shape of a run's traffic; None if it does not decode, or decodes beside prompts."""
    return next((shape for shape, names in SHAPES.items() if re.fullmatch(names, run)), None)
