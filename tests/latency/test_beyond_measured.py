"""What the prefill curve says beyond its points, against a card that was asked.

``prefill-16384-h200.json``: steps of one engine with a budget of 16,384 tokens, back to back, on an H200. Those of at
most 8,192 tokens, a profile's own budget, are all that the curve gets. ``pytest -rP`` on this file prints the errors.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sunsim.latency.curves import NoPrefill, PrefillCurve
from sunsim.latency.measured import PrefillPoint

BUDGET_TOKENS = 8192
POINTS = [
    PrefillPoint.model_validate(point)
    for point in json.loads(Path(__file__).with_name("prefill-16384-h200.json").read_text())["prefill_points"]
    if not point["idle_start"]
]


def test_steps_of_up_to_twice_the_tokens_take_what_the_curve_says() -> None:
    curve = PrefillCurve.fit([point for point in POINTS if point.new_tokens <= BUDGET_TOKENS])
    assert not isinstance(curve, NoPrefill)
    beyond = [point for point in POINTS if point.new_tokens > BUDGET_TOKENS]
    off = np.array(
        [curve.step_ms(point.new_tokens, int(point.attended_pairs)) / point.step_ms_median - 1 for point in beyond]
    )
    for point, error in zip(beyond, off, strict=True):
        print(f"{point.prompts} prompts, {point.new_tokens} tokens: {point.step_ms_median:.1f} ms, {error:+.1%}")  # noqa: T201
    print(f"mean {off.mean():+.1%}, mean of sizes {np.abs(off).mean():.1%}")  # noqa: T201
    assert len(beyond) >= 12
    assert np.abs(off).max() < 0.05
    assert np.abs(off).mean() < 0.03
