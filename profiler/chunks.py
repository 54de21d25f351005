"""What the steps that compute prompts say: with nothing else in the step, and beside decodes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from profiler.plateaus import SETTLED_STEPS, milliseconds, step_stats
from profiler.power import average_power
from profiler.recording import Step, decode_runs


def attended_pairs(chunks: Sequence[tuple[int, int]]) -> int:
    """(query, key) pairs that causal attention computes for (tokens, context before) chunks."""
    return sum(tokens * before + tokens * (tokens + 1) // 2 for tokens, before in chunks)


def prefill_points(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """One point for each composition seen in steps that only prefill, apart for steps begun on an idle engine."""
    groups: dict[tuple[tuple[tuple[int, int], ...], bool], list[Step]] = defaultdict(list)
    for step in steps:
        if step.chunks and not step.decode_requests:
            groups[tuple(sorted(step.chunks)), step.idle_start].append(step)
    return [
        {
            "prompts": len(chunks),
            "new_tokens": sum(tokens for tokens, _ in chunks),
            "attended_pairs": attended_pairs(chunks),
            "context_before": sum(before for _, before in chunks),
            "idle_start": idle_start,
            "lengths": "uniform",
        }
        | step_stats(milliseconds(group))
        | average_power(group)
        for (chunks, idle_start), group in groups.items()
    ]


def idle_starts(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """One point for each kind of step seen to begin on an idle engine.

    step_ms: from its scheduling to its output; launch_ms: from its scheduling until the engine's thread was free again.
    """
    groups: dict[tuple[int, int, int], list[Step]] = defaultdict(list)
    for step in _launched(steps):
        groups[chunk_tokens(step), step.decode_requests, step.context_tokens].append(step)
    return [_idle_start(group, "uniform") for _, group in sorted(groups.items())]


def idle_starts_by_size(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The same for prompts of any length: one point for each power of two that the step's tokens do not exceed.

    launch_ms: of all such steps, also of those that began behind others.
    """
    idle: dict[int, list[Step]] = defaultdict(list)
    for step in _launched(steps):
        if step.chunks and not step.decode_requests:
            idle[_size(step)].append(step)
    sampling_s = [step.launch_s - step.launched_s for step in _launched(steps) if step.launch_s and step.launched_s]
    launches_s: dict[int, list[float]] = defaultdict(list)
    for step in steps:
        if step.chunks and not step.decode_requests and step.launched_s and sampling_s:
            launches_s[_size(step)].append(step.launched_s + float(np.median(sampling_s)))
    return [_idle_start(group, "traffic", launches_s.get(size)) for size, group in sorted(idle.items())]


def _size(step: Step) -> int:
    return (chunk_tokens(step) - 1).bit_length()


def _launched(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.idle_start and step.launch_s is not None]


def chunk_tokens(step: Step) -> int:
    """Prompt tokens that a step computes."""
    return sum(tokens for tokens, _ in step.chunks)


def _idle_start(group: Sequence[Step], lengths: str, launches_s: Sequence[float] | None = None) -> dict[str, Any]:
    """launches_s: None where those of the group are all there are."""
    launch_ms = [seconds * 1e3 for seconds in launches_s or [step.launch_s for step in group if step.launch_s]]
    return {
        "chunk_tokens": round(sum(map(chunk_tokens, group)) / len(group)),
        "batch": group[0].decode_requests,
        "context_tokens": group[0].context_tokens,
        "lengths": lengths,
        "launch_ms_mean": round(float(np.mean(launch_ms)), 4),
        "launch_ms_p10": round(float(np.percentile(launch_ms, 10)), 4),
        "launch_ms_p90": round(float(np.percentile(launch_ms, 90)), 4),
        "launch_ms": [round(ms, 2) for ms in launch_ms],
    } | step_stats(milliseconds(group))


def mixed_points(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """One point for each (decode batch, chunk) seen, with how much longer than usual the steps around it took.

    `previous_extra_ms` and `next_extra_ms` are medians against the nearest settled decode steps.
    """
    groups: dict[tuple[int, int, int, int], list[int]] = defaultdict(list)
    for i, step in enumerate(steps):
        if step.chunks and step.decode_requests:
            tokens = sum(n for n, _ in step.chunks)
            before = sum(b for _, b in step.chunks)
            groups[step.decode_requests, len(step.chunks), tokens, before].append(i)
    usual = _usual_decode_ms(steps)
    points = []
    for (batch, prompts, tokens, before), at in groups.items():
        chosen = [steps[i] for i in at]
        context = sum(s.context_tokens for s in chosen) / len(chosen)
        point: dict[str, Any] = {
            "batch": batch,
            "context_tokens": round(context),
            "prompts": prompts,
            "chunk_tokens": tokens,
            "chunk_context": before,
            "attended_pairs": round(sum(attended_pairs(s.chunks) for s in chosen) / len(chosen)),
            "lengths": "uniform",
            "previous_extra_ms": _median_extra(steps, usual, [i - 1 for i in at]),
            "next_extra_ms": _median_extra(steps, usual, [i + 1 for i in at]),
        }
        points.append(point | step_stats(milliseconds(chosen)))
    return points


def _usual_decode_ms(steps: Sequence[Step]) -> dict[int, float]:
    """Median ms of settled decode steps, by batch."""
    settled: dict[int, list[float]] = defaultdict(list)
    for run in decode_runs(steps):
        settled[run.batch] += milliseconds(steps[run.settled()])
    return {batch: float(np.median(ms)) for batch, ms in settled.items() if len(ms) >= SETTLED_STEPS}


def _median_extra(steps: Sequence[Step], usual: dict[int, float], at: Sequence[int]) -> float | None:
    extra = [
        steps[i].step_s * 1e3 - usual[steps[i].requests]
        for i in at
        if 0 <= i < len(steps) and not steps[i].chunks and steps[i].requests in usual
    ]
    return round(float(np.median(extra)), 4) if extra else None
