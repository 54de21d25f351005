"""What requests that join decodes cost the host: it reads their prompts' token ids before it decides on the next step."""

from collections.abc import Sequence

import numpy as np

from sunsim.latency.measured import ArrivalPoint

CANDIDATES_MS = np.linspace(0.0, 2.0, 401)
"""Milliseconds for a thousand tokens; each is tried."""


def reading_ms(points: Sequence[ArrivalPoint], lead_ms: float) -> float:
    """Milliseconds a token, as fits the measured crowds best; 0 without any.

    While the host reads, the GPU runs the step before, so only what exceeds it shows:
    ``extra = max(0, reading * tokens + lead - step)`` for each step that is joined. Least squares, weighted by crowds.

    Args:
        points: measured.
        lead_ms: from the decision for a step of decodes until the GPU can begin it.
    """
    if not points:
        return 0.0
    columns = [(p.crowds, p.tokens, p.steps, p.step_ms, p.extra_ms) for p in points]
    crowds, tokens, steps, step_ms, extra_ms = np.array(columns, dtype=np.float64).T
    said_ms = steps * np.maximum(0.0, CANDIDATES_MS[:, None] * tokens / 1000 + lead_ms - step_ms)
    return float(CANDIDATES_MS[np.argmin(((said_ms - extra_ms) ** 2) @ crowds)]) / 1000
