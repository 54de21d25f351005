"""What a profile's own traffic corrects, and how far it may be off on traffic that it has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sunsim.latency.arrivals import reading_ms
from sunsim.latency.attention import LengthMix
from sunsim.latency.measured import ArrivalPoint, DecodePoint
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.latency.traffic import TrafficFit
from tests.latency.committed import NAMES, profile
from tests.synthetic import synthetic_profile

SPREAD = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")
MIX = LengthMix((1000,), (100,))


def point(sweep: str, batch: int, context: int, step_ms: float, steps: int = 10) -> DecodePoint:
    times = dict.fromkeys(SPREAD, step_ms)
    found = {"batch": batch, "context_tokens": float(context), "lengths": "traffic", "traffic": sweep, "steps": steps}
    return DecodePoint.model_validate(found | times)


Said = dict[float, NDArray[np.float64]]


def sweeps(names: str, request_ms: float, token_ms: float) -> tuple[list[DecodePoint], Said]:
    """Points of three shapes that follow the formula exactly with `alone` 2, and what the model says of them."""
    points, said = [], []
    for sweep, each in zip(names, (300, 1200, 5000), strict=False):
        for batch in (1, 4, 16, 64, 128):
            said_ms = 7 + batch / 50 + 4e-5 * batch * each
            points.append(point(sweep, batch, batch * each, said_ms + request_ms * batch + token_ms * batch * each))
            said.append(said_ms)
    right = np.array(said)
    return points, {1.0: right * 1.1, 2.0: right, 3.0: right - np.array([p.batch**0.5 for p in points]) / 10}


@given(st.floats(-5e-3, 5e-3), st.floats(-1e-5, 1e-5))
def test_traffic_that_follows_the_formula_gives_its_numbers_and_leaves_no_error(
    request_ms: float, token_ms: float
) -> None:
    fit = TrafficFit.of(*sweeps("abc", request_ms, token_ms))
    assert fit
    assert fit.alone == 2.0
    assert fit.request_ms == pytest.approx(request_ms, abs=1e-9)
    assert fit.token_ms == pytest.approx(token_ms, abs=1e-12)
    assert [each.sweep for each in fit.left_out] == ["a", "b", "c"]
    assert all(abs(each.error) < 1e-9 and each.spread < 1e-9 and each.steps == 50 for each in fit.left_out)


def test_a_sweep_is_judged_by_the_others_alone() -> None:
    points, said = sweeps("abc", 0.0, 0.0)
    slow = [p.model_copy(update={"step_ms_mean": p.step_ms_mean * 1.1}) if p.traffic == "c" else p for p in points]
    fit = TrafficFit.of(slow, {2.0: said[2.0]})
    assert fit
    assert fit.left_out[2].error == pytest.approx(1 / 1.1 - 1)
    assert fit.left_out[2].spread == pytest.approx(1 - 1 / 1.1)


def test_one_sweep_corrects_nothing_and_two_are_not_judged() -> None:
    assert TrafficFit.of(*sweeps("a", 1e-3, 1e-6)) is None
    two = TrafficFit.of(*sweeps("ab", 1e-3, 1e-6))
    assert two
    assert two.request_ms == pytest.approx(1e-3)
    assert two.left_out == ()


def written(folder: Path, **changes: Any) -> LatencyModel:
    (folder / "profile.json").write_text(json.dumps(synthetic_profile(**changes)))
    return LatencyModel(load_profile(folder / "profile.json"), MIX)


def test_steps_carry_the_correction_where_the_lengths_of_the_sweeps_are_known(tmp_path: Path) -> None:
    steady = synthetic_profile()["decode_points"]
    plain = written(tmp_path, decode_points=steady)
    traffic = []
    for sweep, each in (("a", 300), ("b", 2000)):
        for batch in (1, 8, 64):
            step_ms = plain.decode_step_ms(batch, batch * each) + 0.01 * batch + 1e-6 * batch * each
            found = {"batch": batch, "context_tokens": batch * each, "lengths": "traffic", "traffic": sweep, "steps": 9}
            traffic.append(found | dict.fromkeys(SPREAD, step_ms))
    lengths = [{"traffic": s, "prompt_tokens": [1000], "output_tokens": [100]} for s in "ab"]
    times = written(tmp_path, decode_points=steady + traffic, served_lengths=lengths)
    for batch, context in ((1, 300), (30, 30_000), (64, 128_000)):
        more_ms = times.decode_step_ms(batch, context) - plain.decode_step_ms(batch, context)
        assert more_ms == pytest.approx(0.01 * batch + 1e-6 * context, rel=1e-3)
    unknown = written(tmp_path, decode_points=steady + traffic)
    assert unknown.decode_step_ms(30, 30_000) == plain.decode_step_ms(30, 30_000)


APART = {
    "h200-141gb/qwen3-8b-bf16": 0.03,  # chat and longest contexts do not suit one another
    "h200-141gb/qwen3-8b-fp8": 0.025,  # `few`, with small batches of contexts of 4,000 to 8,000 tokens
    "h200-141gb/llama-3.1-8b-lora-r16-a4": 0.055,  # requests that join cost with adapters, and sweeps differ in how many do
}
"""How far off a sweep may be by numbers fitted to the others, where that is more than of other profiles."""


@pytest.mark.parametrize("name", [name for name in NAMES if len(profile(name).data.served_lengths) > 2])
def test_a_shipped_profile_predicts_a_sweep_from_the_others(name: str) -> None:
    found = LatencyModel(profile(name), MIX).traffic
    assert found
    apart = APART.get(name, 0.04 if "-lora-" in name else 0.02)
    for sweep in found.left_out:
        assert abs(sweep.error) < apart, sweep
        assert sweep.spread < 2 * apart + 0.03, sweep


def crowd(tokens: int, step_ms: float, extra_ms: float, steps: float = 1.0, crowds: int = 1) -> ArrivalPoint:
    return ArrivalPoint(crowds=crowds, tokens=tokens, steps=steps, step_ms=step_ms, extra_ms=extra_ms)


def test_what_a_crowd_adds_gives_the_time_to_read_a_token() -> None:
    lead_ms, a_token = 2.0, 0.6e-3
    points = [
        crowd(tokens, step_ms, steps * max(0.0, a_token * tokens + lead_ms - step_ms), steps)
        for tokens in (100, 5000, 20_000, 40_000)
        for step_ms in (5.0, 12.0)
        for steps in (1.0, 3.0)
    ]
    assert reading_ms(points, lead_ms) == pytest.approx(a_token)
    assert reading_ms([], lead_ms) == 0.0
    assert reading_ms([crowd(5000, 20.0, 0.0)], lead_ms) == 0.0
    assert np.isfinite(reading_ms([crowd(10**7, 1e-3, 1e6)], lead_ms))
