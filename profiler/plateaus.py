"""Plan of a decode batch that shrinks in stages, and what its steps say: plateaus, leavers, joiners, stalls."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from profiler.power import average_power
from profiler.recording import Run, Step, decode_runs

STALL_FACTOR = 1.5
SETTLED_STEPS = 4


@dataclass(frozen=True, slots=True)
class Staircase:
    """Batch sizes, falling, each held for `steps` steps; all requests start in the same step."""

    batches: tuple[int, ...]
    steps: int

    def output_tokens(self) -> list[int]:
        """Output length of each request, first leavers first."""
        following = (*self.batches[1:], 0)
        return [
            (stage + 1) * self.steps
            for stage, (batch, after) in enumerate(zip(self.batches, following, strict=True))
            for _ in range(batch - after)
        ]

    def peak_tokens(self, prompt_tokens: Sequence[int], block_size: int) -> int:
        """Most KV held at once, in tokens of whole blocks, for prompts in the order of `output_tokens`."""
        outputs = self.output_tokens()
        peak = 0
        for stage, batch in enumerate(self.batches):
            staying = zip(prompt_tokens[-batch:], outputs[-batch:], strict=True)
            emitted = (stage + 1) * self.steps
            peak = max(peak, sum(-(-(p + min(emitted, o) + 1) // block_size) for p, o in staying))
        return peak * block_size


def grid_batches(largest: int, capture_sizes: Sequence[int]) -> tuple[int, ...]:
    """Falling batch sizes up to `largest`: all captured sizes and their successors to 65, then pairs astride tiles.

    Above 256 every fourth tile.
    """
    captured = [s for s in capture_sizes if s <= 64]
    astride = [s + d for s in (80, *range(96, 241, 16), *range(320, largest, 64)) for d in (0, 1)]
    chosen = {1, *captured, *(s + 1 for s in captured), *astride, 248, 249, 256, largest}
    return tuple(sorted((b for b in chosen if 1 <= b <= largest), reverse=True))


def grid_batches_with_drafts(largest: int, capture_sizes: Sequence[int], tokens_each: int) -> tuple[int, ...]:
    """The same where a request computes `tokens_each` tokens in a step, which graphs and tiles have the sizes of.

    Of graphs those up to 64 tokens, then pairs astride tiles.
    """
    most = largest * tokens_each
    wide = range(640, most, max(128, most // 1024 * 128))
    tokens = [*(s for s in capture_sizes if s <= 64), *range(96, 257, 32), *range(320, 513, 64), *wide]
    chosen = {1, largest, *(s // tokens_each + d for s in tokens for d in (0, 1))}
    return tuple(sorted((b for b in chosen if 1 <= b <= largest), reverse=True))


def step_stats(steps_ms: Sequence[float]) -> dict[str, float | int]:
    """Median and spread of step times, ms, and how many there were."""
    values = np.asarray(steps_ms, dtype=float)
    p10, p90 = np.percentile(values, (10, 90))
    return {
        "step_ms_median": round(float(np.median(values)), 4),
        "step_ms_mean": round(float(values.mean()), 4),
        "step_ms_p10": round(float(p10), 4),
        "step_ms_p90": round(float(p90), 4),
        "step_ms_min": round(float(values.min()), 4),
        "steps": len(values),
    }


def milliseconds(steps: Sequence[Step]) -> list[float]:
    """Each step's own time, ms."""
    return [step.step_s * 1e3 for step in steps]


def _median_ms(steps: Sequence[Step]) -> float:
    return float(np.median(milliseconds(steps)))


def decode_points(steps: Sequence[Step], lengths: str, run: int, **more: Any) -> list[dict[str, Any]]:
    """One point a plateau: batch, context at its middle, step times. Runs too short to settle are left out."""
    points = []
    for plateau in decode_runs(steps):
        settled = steps[plateau.settled()]
        if len(settled) < SETTLED_STEPS:
            continue
        context = sum(step.context_tokens for step in settled) / len(settled)
        points.append(
            {"batch": plateau.batch, "context_tokens": round(context), "lengths": lengths, "run": run}
            | more
            | step_stats(milliseconds(settled))
            | average_power(settled)
        )
    return points


def _neighbours(steps: Sequence[Step]) -> list[tuple[Run, Run]]:
    """Pairs of settled runs, one right after the other."""
    runs = decode_runs(steps)
    return [
        (before, after)
        for before, after in itertools.pairwise(runs)
        if before.end == after.begin
        and not steps[after.begin].idle_start
        and all(len(steps[r.settled()]) >= SETTLED_STEPS for r in (before, after))
    ]


def leave_points(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Extra time, ms, of the first steps after requests left, against the median of the plateau they begin."""
    points = []
    for before, after in _neighbours(steps):
        if steps[after.begin].joined or after.batch >= before.batch:
            continue
        settled = _median_ms(steps[after.settled()])
        last = steps[before.end - 1]
        points.append(
            {
                "batch": after.batch,
                "left": before.batch - after.batch,
                "context_tokens": steps[after.begin].context_tokens,
                "extra_ms_last": round(last.step_s * 1e3 - _median_ms(steps[before.settled()]), 4),
                "extra_ms": [round(s.step_s * 1e3 - settled, 4) for s in steps[after.begin : after.begin + 3]],
            }
        )
    return points


def join_points(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Extra time, ms, of the step that admits requests whose KV has arrived, and of its neighbours.

    The step before is compared with the plateau it ends, the others with the plateau that the joiners are part of.
    """
    points = []
    for before, after in _neighbours(steps):
        joined = steps[after.begin].joined
        if not joined or any(scheduled != 1 for scheduled, _ in joined):
            continue
        settled = _median_ms(steps[after.settled()])
        last = steps[before.end - 1]
        points.append(
            {
                "batch": after.batch,
                "joined": len(joined),
                "prompt_tokens": round(sum(computed + 1 for _, computed in joined) / len(joined)),
                "context_tokens": steps[after.begin].context_tokens,
                "extra_ms_before": round(last.step_s * 1e3 - _median_ms(steps[before.settled()]), 4),
                "extra_ms": [round(s.step_s * 1e3 - settled, 4) for s in steps[after.begin : after.begin + 3]],
            }
        )
    return points


def stall_summary(steps: Sequence[Step]) -> dict[str, float | int]:
    """Steps of settled plateaus that took over 1.5 times their plateau's median: the host's doing, not the GPU's."""
    total_s = excess_s = worst_s = 0.0
    count = stalled = 0
    for plateau in decode_runs(steps):
        settled = steps[plateau.settled()]
        if len(settled) < SETTLED_STEPS:
            continue
        median_s = _median_ms(settled) / 1e3
        for step in settled:
            count += 1
            total_s += step.step_s
            if step.step_s > STALL_FACTOR * median_s:
                stalled += 1
                excess_s += step.step_s - median_s
                worst_s = max(worst_s, step.step_s)
    return {
        "steps": count,
        "stalled_steps": stalled,
        "total_s": round(total_s, 4),
        "excess_share": round(excess_s / total_s, 6) if total_s else 0.0,
        "worst_step_ms": round(worst_s * 1e3, 3),
    }
