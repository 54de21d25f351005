"""Where errors come from: the model's step time against each step that the engine recorded."""

from dataclasses import dataclass

import numpy as np

from sunsim.clock import to_s
from sunsim.latency.drafts import DraftTimes
from sunsim.latency.model import LatencyModel
from sunsim.latency.steps import Chunk
from sunsim.metrics.rows import Bools, Floats
from sunsim.validation.worker_run import StepRows

STALL = 1.5
"""A step this many times as long as predicted is a stall: the host's doing, which no step time explains."""

ALL = "all decode"
ENTERED = "with one that enters"
CHUNKED = "with a chunk"
BANDS = {
    "1": (1, 1),
    "2-16": (2, 16),
    "17-64": (17, 64),
    "65-128": (65, 128),
    "129-256": (129, 256),
    "257-1024": (257, 1024),
}
"""Batch sizes, the first and the last."""


@dataclass(frozen=True, slots=True)
class Band:
    """Steps of some batch sizes.

    Attributes:
        batches: the sizes, or `ALL`, or `CHUNKED`.
        recorded_s: their time.
        error_percent: all predicted time against all recorded time.
        settled_error_percent: the same without the stalls.
        median_error_percent: of the single steps' relative errors.
        stalls: steps over `STALL` times the prediction.
        stall_time_percent: share of the recorded time that these steps took.
        stall_excess_percent: share of the recorded time that they took beyond the prediction.
    """

    batches: str
    steps: int
    recorded_s: float
    error_percent: float
    settled_error_percent: float | None
    median_error_percent: float
    stalls: int
    stall_time_percent: float
    stall_excess_percent: float


def check_steps(steps: StepRows, times: LatencyModel | DraftTimes) -> list[Band]:
    """The decode steps by batch size and all of them, then the steps with a prompt's chunk; empty without any.

    Launching a step with a chunk holds up the output of the step before, which is recorded longer, and that step
    shorter, than the GPU takes. So a decode step before one counts with it, and not among the others.

    On a worker that drafts, steps in which somebody enters with one token are a band of their own.

    Steps with a chunk are left out where the run does not record what their chunks attended to.
    """
    timed = (steps.step_s > 0) & (steps.batch + steps.chunk_tokens + steps.entering >= 1)
    chunked = timed & (steps.chunk_tokens > 0)
    mixed = timed & ~chunked & (steps.entering > 0)
    decodes = timed & ~chunked & ~mixed
    held_up = decodes & np.append(chunked[1:], False)
    predicted_s = np.zeros_like(steps.step_s)
    predicted_s[decodes] = _decode_s(steps, decodes, times.host if isinstance(times, DraftTimes) else times)
    bands = []
    for batches, (first, last) in (BANDS | {ALL: (1, np.inf)}).items():
        which = decodes & ~held_up & (steps.batch >= first) & (steps.batch <= last)
        if which.any():
            bands.append(_band(batches, steps.step_s[which], predicted_s[which]))
    if mixed.any():
        predicted_s[mixed] = _chunked_s(steps, np.zeros_like(steps.step_s), mixed, times)
        bands.append(_band(ENTERED, steps.step_s[mixed], predicted_s[mixed]))
    if chunked.any() and steps.attended_pairs is not None:
        predicted_s[chunked] = _chunked_s(steps, steps.attended_pairs, chunked, times)
        both = (times + np.append(0.0, np.where(held_up, times, 0)[:-1]) for times in (steps.step_s, predicted_s))
        bands.append(_band(CHUNKED, *(times[chunked] for times in both)))
    return bands


def _decode_s(steps: StepRows, which: Bools, model: LatencyModel) -> Floats:
    batches = zip(_whole(steps.batch[which]), _whole(steps.context_tokens[which]), strict=True)
    return np.array([model.decode_step_ms(*step) for step in batches]) / 1000


def _chunked_s(steps: StepRows, attended_pairs: Floats, which: Bools, times: LatencyModel | DraftTimes) -> Floats:
    """Steps with a prompt's chunk, or with requests that enter with one token."""
    own = (steps.batch, steps.context_tokens, steps.chunk_tokens, attended_pairs)
    columns = (*own, steps.entering, steps.entering_context_tokens)
    predicted_ps = [
        times.chunked_step(batch, context, [*_entered(new, known), *([_one_chunk(tokens, pairs)] if tokens else [])])[0]
        for batch, context, tokens, pairs, new, known in zip(
            *(_whole(column[which]) for column in columns), strict=True
        )
    ]
    return to_s(np.array(predicted_ps, dtype=np.int64))


def _entered(requests: int, context_tokens: int) -> list[Chunk]:
    """Chunks of one token that attend to as many in all; which of them to how many does not matter to a model."""
    if not requests:
        return []
    return [Chunk(1, context_tokens - requests), *[Chunk(1, 0)] * (requests - 1)]


def _one_chunk(tokens: int, pairs: int) -> Chunk:
    """One chunk of as many tokens that attends to as many pairs: with several prompts in it, less than nothing before.

    A model knows a step by these two sums.
    """
    return Chunk(tokens, round((pairs - tokens * (tokens + 1) / 2) / tokens))


def _whole(values: Floats) -> list[int]:
    found: list[int] = values.astype(np.int64).tolist()
    return found


def _band(batches: str, recorded_s: Floats, predicted_s: Floats) -> Band:
    stalled = recorded_s > STALL * predicted_s
    total_s = float(recorded_s.sum())
    settled_s = float(recorded_s[~stalled].sum())
    return Band(
        batches=batches,
        steps=len(recorded_s),
        recorded_s=total_s,
        error_percent=(float(predicted_s.sum()) / total_s - 1) * 100,
        settled_error_percent=(float(predicted_s[~stalled].sum()) / settled_s - 1) * 100 if settled_s else None,
        median_error_percent=float(np.median(predicted_s / recorded_s - 1)) * 100,
        stalls=int(stalled.sum()),
        stall_time_percent=float(recorded_s[stalled].sum()) / total_s * 100,
        stall_excess_percent=float((recorded_s - predicted_s)[stalled].sum()) / total_s * 100,
    )
