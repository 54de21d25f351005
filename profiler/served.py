"""What the steps of traffic with prompts say: those whose time is the GPU's own, and pauses of the host."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from profiler.chunks import attended_pairs, chunk_tokens
from profiler.plateaus import step_stats
from profiler.power import average_power
from profiler.recording import Step

LEAST_STEPS = 3
STALLED = 1.5
"""A step this many times as long as usual for its size was held up by the host."""
LONGEST_PAUSE_S = 0.004
"""A step scheduled so soon after the last output was of requests that had waited for that output."""


Timed = tuple[Step, float]
"""A step, and the seconds that count."""


def prefill_points(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps of prompts alone, one point for each half power of two of their tokens, apart for idle starts.

    Left out are steps whose own output came late, and those that followed one whose output did: when they began is not
    known. So are those that the host held up.
    """
    groups: dict[tuple[bool, int], list[Timed]] = defaultdict(list)
    for previous, step in pairwise(steps):
        is_timed = not step.held_up and (step.idle_start or not previous.held_up)
        if is_timed and step.chunks and not step.decode_requests:
            groups[step.idle_start, round(2 * math.log2(step.tokens))].append((step, step.step_s))
    return [
        {
            "prompts": round(_mean(group, lambda step: len(step.chunks))),
            "new_tokens": round(_mean(group, chunk_tokens)),
            "attended_pairs": round(_mean(group, lambda step: attended_pairs(step.chunks))),
            "idle_start": group[0].idle_start,
            "lengths": "traffic",
        }
        | step_stats(times_ms)
        | average_power(group)
        for _, timed in sorted(groups.items())
        if len(timed) >= LEAST_STEPS
        for group, times_ms in [_undisturbed(timed)]
    ]


def mixed_points(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps of decodes beside prompts, one point for each power of two of either side's size.

    Where the launch of such a step held the decode step before it up, only both together have a known time: then
    `decode_steps_before` is 1, and the times are those of both.
    """
    groups: dict[tuple[bool, int, int], list[Timed]] = defaultdict(list)
    for before, step in pairwise(steps):
        together = before.held_up
        if not (step.chunks and step.decode_requests) or step.held_up or (together and before.chunks):
            continue
        sizes = (step.decode_requests - 1).bit_length(), (chunk_tokens(step) - 1).bit_length()
        groups[together, *sizes].append((step, step.step_s + together * before.step_s))
    return [
        {
            "batch": round(_mean(group, lambda step: step.decode_requests)),
            "context_tokens": round(_mean(group, lambda step: step.context_tokens)),
            "prompts": round(_mean(group, lambda step: len(step.chunks))),
            "chunk_tokens": round(_mean(group, chunk_tokens)),
            "chunk_context": round(_mean(group, lambda step: sum(before for _, before in step.chunks))),
            "attended_pairs": round(_mean(group, lambda step: attended_pairs(step.chunks))),
            "lengths": "traffic",
            "decode_steps_before": int(together),
            "launched_ms_mean": round(_mean(group, lambda step: step.launched_s or 0.0) * 1e3, 4),
        }
        | step_stats(times_ms)
        for (together, *_), timed in sorted(groups.items())
        if len(timed) >= LEAST_STEPS
        for group, times_ms in [_undisturbed(timed)]
    ]


def launch_points(steps: Sequence[Step], traffic: str) -> list[dict[str, Any]]:
    """How long the host is busy with steps that no CUDA graph is of the whole of, one point for each power of two tokens.

    Those with prompts and, in an engine with drafts, those that somebody enters. launch_ms: from a step's scheduling to the
    next one's, where only the host lay between: it launched the step, and handed out the output before, which had waited for
    that. Sizes most of whose launches did not hold up any output, as the GPU takes longer, are left out.
    """
    sizes: dict[int, list[tuple[Step, float | None]]] = defaultdict(list)
    for before, step, after in zip(steps, steps[1:], steps[2:], strict=False):
        if step.joined or step.chunks:
            launch_s = after.scheduled_s - step.scheduled_s if before.held_up and not after.idle_start else None
            sizes[round(math.log2(step.tokens))].append((step, launch_s))
    points = []
    for _, group in sorted(sizes.items()):
        known = [(step, launch_s * 1e3) for step, launch_s in group if launch_s is not None]
        if len(known) < max(LEAST_STEPS, len(group) / 2):
            continue
        launches = [step for step, _ in known]
        launch_ms = [ms for _, ms in known]
        p10, p90 = np.percentile(launch_ms, (10, 90))
        points.append(
            {
                "traffic": traffic,
                "tokens": round(_mean(launches, lambda step: step.tokens)),
                "requests": round(_mean(launches, lambda step: step.requests)),
                "launches": len(known),
                "launch_ms_mean": round(float(np.mean(launch_ms)), 4),
                "launch_ms_p10": round(float(p10), 4),
                "launch_ms_p90": round(float(p90), 4),
            }
        )
    return points


def pauses(steps: Sequence[Step], traffic: str) -> list[dict[str, Any]]:
    """From an output with nothing in flight behind it until requests that have waited for it are scheduled, ms."""
    gaps_s = [step.scheduled_s - previous.end_s for previous, step in pairwise(steps) if step.idle_start]
    pauses_ms = [gap_s * 1e3 for gap_s in gaps_s if gap_s <= LONGEST_PAUSE_S]
    if len(pauses_ms) < LEAST_STEPS:
        return []
    median, p90 = np.percentile(pauses_ms, (50, 90))
    return [
        {
            "traffic": traffic,
            "pauses": len(pauses_ms),
            "pause_ms_median": round(float(median), 4),
            "pause_ms_p90": round(float(p90), 4),
        }
    ]


def _undisturbed(timed: Sequence[Timed]) -> tuple[list[Step], list[float]]:
    """The steps that no stall made much longer than usual, and their times, ms."""
    most_s = STALLED * float(np.median([seconds for _, seconds in timed]))
    kept = [(step, seconds) for step, seconds in timed if seconds <= most_s]
    return [step for step, _ in kept], [seconds * 1e3 for _, seconds in kept]


def _mean(steps: Sequence[Step], value: Callable[[Step], float]) -> float:
    return sum(map(value, steps)) / len(steps)
