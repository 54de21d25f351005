"""What requests cost the engine's host as they come in: steps that it holds up, since the GPU waits for it.

A request whose KV has arrived joins the step that is composed while the step before it runs. Reading the request, its
prompt's token ids above all, keeps the host from composing; when many come together the GPU runs dry meanwhile.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import floor, log2
from typing import Any, NamedTuple

import numpy as np

from profiler.recording import Step
from profiler.stalls import usual_ms

HELD_UP = 2
"""Steps before the one that is joined whose output may be late as well."""
APART = 3
"""Steps without a join between one crowd and the next."""
MOST_STEPS = 4
"""Of a crowd: joins that go on for longer are no crowd but traffic, in which nothing shows what is usual."""
BANDS_A_DOUBLING = 2


class Crowd(NamedTuple):
    """Requests that join in step `first`, or in the few up to `last`, with so many prompt tokens in all."""

    first: int
    last: int
    tokens: int


def crowds(steps: Sequence[Step]) -> list[Crowd]:
    """Those that are apart from others, in order."""
    found: list[Crowd] = []
    for i, step in enumerate(steps):
        tokens = sum(scheduled + computed for scheduled, computed in step.joined)
        if not tokens:
            continue
        if found and i - found[-1].last <= APART:
            found[-1] = Crowd(found[-1].first, i, found[-1].tokens + tokens)
        else:
            found.append(Crowd(i, i, tokens))
    return [crowd for crowd in found if crowd.last - crowd.first < MOST_STEPS]


def arrival_points(steps: Sequence[Step], sweep: str) -> list[dict[str, Any]]:
    """One point for each band of a crowd's prompt tokens, two bands a doubling; means over its crowds.

    tokens: prompt tokens of a step that was joined; steps: so many were, one after the other. step_ms: what they take
    usually, the median of the steps around; extra_ms: by how much longer they and the `HELD_UP` before them took in all.
    """
    usual = usual_ms(steps)
    longer = np.array([step.step_s * 1e3 for step in steps]) - usual
    bands: dict[int, list[Crowd]] = defaultdict(list)
    for crowd in crowds(steps):
        around = steps[max(crowd.first - HELD_UP, 0) : crowd.last + 1]
        if crowd.first >= HELD_UP and not any(step.chunks or step.idle_start for step in around):
            bands[floor(BANDS_A_DOUBLING * log2(crowd.tokens))].append(crowd)
    points = []
    for _, group in sorted(bands.items()):
        spans = [slice(crowd.first, crowd.last + 1) for crowd in group]
        joined = float(np.mean([crowd.last + 1 - crowd.first for crowd in group]))
        points.append(
            {
                "traffic": sweep,
                "crowds": len(group),
                "tokens": round(float(np.mean([crowd.tokens for crowd in group])) / joined),
                "steps": round(joined, 2),
                "step_ms": round(float(np.mean([usual[span].mean() for span in spans])), 4),
                "extra_ms": round(float(np.mean([longer[s.start - HELD_UP : s.stop].sum() for s in spans])), 4),
            }
        )
    return points
