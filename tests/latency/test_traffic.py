"""What serving adds to steady batches: by batch size and context, from the sweeps of a profile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from tests.latency.committed import NAMES, even_model, model, profile
from tests.synthetic import synthetic_profile

if TYPE_CHECKING:
    from pathlib import Path

SWEPT = [name for name in NAMES if any(point.lengths == "traffic" for point in profile(name).data.decode_points)]


def even_ms(batch: int, context_tokens: int) -> float:
    """The formula of the synthetic profile."""
    return 7 + 0.02 * batch + 4e-5 * context_tokens


def swept(batch: int, each: int, extra_ms: float, traffic: str = "chat", steps: int = 10) -> dict[str, Any]:
    spread = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")
    point = {"batch": batch, "context_tokens": batch * each, "lengths": "traffic", "run": 0, "traffic": traffic}
    return point | {"steps": steps} | dict.fromkeys(spread, even_ms(batch, batch * each) + extra_ms)


def model_with(path: Path, *points: dict[str, Any]) -> LatencyModel:
    document = synthetic_profile()
    document["decode_points"] += points
    (path / "profile.json").write_text(json.dumps(document))
    return LatencyModel(load_profile(path / "profile.json"))


def extra(times: LatencyModel, batch: int, context_tokens: int) -> float:
    return times.decode_step_ms(batch, context_tokens) - even_ms(batch, context_tokens)


def test_a_batch_seen_under_traffic_takes_what_it_took_there_at_any_context(tmp_path: Path) -> None:
    times = model_with(tmp_path, swept(64, 1000, 0.5))

    for each in (200, 1000, 3000, 9000):
        assert extra(times, 64, 64 * each) == pytest.approx(0.5, abs=1e-3)


def test_between_two_sweeps_the_extra_time_follows_the_context(tmp_path: Path) -> None:
    times = model_with(tmp_path, swept(64, 1000, 0.2), swept(64, 3000, 0.8, "long"))

    assert extra(times, 64, 64 * 2000) == pytest.approx(0.5, abs=1e-3)
    assert extra(times, 64, 64 * 500) == pytest.approx(0.2, abs=1e-3)
    assert extra(times, 64, 64 * 5000) == pytest.approx(0.8, abs=1e-3)


def test_neighbours_count_by_their_steps_and_batches_far_off_not_at_all(tmp_path: Path) -> None:
    times = model_with(tmp_path, swept(64, 1000, 0.2, steps=30), swept(65, 1000, 0.6, steps=10), swept(80, 1000, 9.0))

    assert extra(times, 64, 64_000) == pytest.approx(0.3, abs=1e-3)


def test_the_end_of_a_sweep_stands_for_batches_up_to_a_tenth_larger(tmp_path: Path) -> None:
    times = model_with(tmp_path, swept(192, 1000, 0.4))

    assert extra(times, 192 + 21, 213_000) == pytest.approx(0.4, abs=1e-2)
    assert extra(times, 192 + 22, 214_000) == pytest.approx(0.0, abs=1e-2)


def test_a_context_seen_under_traffic_only_counts_as_measured(tmp_path: Path) -> None:
    beyond = 256 * 1800  # the synthetic profile's 256 requests end at 1,024 tokens each
    alone, seen = model_with(tmp_path), None
    assert not alone.decode_line(256, beyond - 256).measured
    seen = model_with(tmp_path, swept(256, 1800, 0.1))
    assert seen.decode_line(256, beyond - 256).measured
    assert not seen.decode_line(256, beyond + 256).measured


@pytest.mark.parametrize("name", SWEPT)
def test_the_model_is_near_the_sweeps_where_the_even_one_is_not(name: str) -> None:
    def error(times: LatencyModel) -> float:
        points = [point for point in profile(name).data.decode_points if point.lengths == "traffic"]
        errors = [
            times.decode_step_ms(point.batch, round(point.context_tokens)) / point.step_ms_mean - 1 for point in points
        ]
        return float(np.median(np.abs(errors)))

    assert error(model(name)) < 0.0125
    assert error(model(name)) < 0.8 * error(even_model(name))
