"""Steps with prompts, set right by the steps of a profile's own traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.errors import InputError
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.latency.steps import Chunk
from tests.synthetic import synthetic_profile

MS = 10**9
SPREAD = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")


def pairs(tokens: int) -> float:
    return tokens * (tokens + 1) / 2


def even_ms(tokens: int) -> float:
    """What the synthetic profile says of one prompt."""
    return 8 + 0.02 * tokens + 8e-7 * pairs(tokens)


def decode_ms(batch: int, context: float) -> float:
    return 7 + 0.02 * batch + 4e-5 * context


def served(tokens: int, step_ms: float, steps: int = 10, **more: Any) -> dict[str, Any]:
    """Steps of one prompt in traffic."""
    point = {"prompts": 1, "new_tokens": tokens, "attended_pairs": pairs(tokens), "lengths": "traffic", "steps": steps}
    return point | dict.fromkeys(SPREAD, step_ms) | more


def beside(chunk: int, step_ms: float, before: int = 0, batch: int = 32, context: int = 32_000) -> dict[str, Any]:
    point = {"batch": batch, "context_tokens": context, "chunk_tokens": chunk, "chunk_context": 0, "steps": 10}
    return point | {"lengths": "traffic", "decode_steps_before": before} | dict.fromkeys(SPREAD, step_ms)


def model(path: Path, prefill: list[dict[str, Any]], **changes: Any) -> LatencyModel:
    document = synthetic_profile(**changes)
    document["prefill_points"] += prefill
    (path / "profile.json").write_text(json.dumps(document))
    return LatencyModel(load_profile(path / "profile.json"))


def test_prompts_take_what_those_of_their_size_took_in_traffic(tmp_path: Path) -> None:
    times = model(tmp_path, [served(1024, even_ms(1024) + 4), served(4096, even_ms(4096) - 2)])

    asked = (256, 1000, 1024, 2560, 4096, 8192)
    extra_ms = [times.prefill_step_ms(tokens) - even_ms(tokens) for tokens in asked]

    # Halfway between in the middle; much larger steps were not seen to be shorter.
    assert extra_ms == pytest.approx([4, 4, 4, 1, -2, 0], abs=0.02)
    assert times.chunked.alone.error < 0


def test_nothing_is_taken_off_steps_of_sizes_that_traffic_did_not_have(tmp_path: Path) -> None:
    times = model(tmp_path, [served(1024, even_ms(1024) - 2), served(2048, even_ms(2048) - 3)])

    extra_ms = [times.prefill_step_ms(tokens) - even_ms(tokens) for tokens in (64, 512, 1024, 2048, 4096)]

    assert extra_ms == pytest.approx([0, 0, -2, -3, 0], abs=0.02)


@pytest.mark.parametrize("extra_ms", [-3.0, 3.0])
def test_nothing_jumps_where_the_sizes_of_traffic_end(extra_ms: float, tmp_path: Path) -> None:
    times = model(tmp_path, [served(1024, even_ms(1024) + extra_ms), served(4096, even_ms(4096) + extra_ms)])

    step_ms = np.array([times.prefill_step_ms(tokens) for tokens in range(300, 8192, 8)])

    assert np.abs(np.diff(step_ms)).max() < 0.4


def test_traffic_of_one_size_counts_by_its_steps_and_none_with_too_few(tmp_path: Path) -> None:
    points = [served(1024, even_ms(1024) + 1, 30), served(1024, even_ms(1024) + 5, 10), served(4096, 500, 4)]

    times = model(tmp_path, points)

    assert times.prefill_step_ms(4096) - even_ms(4096) == pytest.approx(2.0, abs=0.02)


def test_idle_starts_count_without_the_lead_and_where_the_gpu_kept_them_waiting(tmp_path: Path) -> None:
    start = {"chunk_tokens": 4096, "batch": 0, "context_tokens": 0, "launch_ms_mean": 20, "steps": 9}
    starts = [start | dict.fromkeys(SPREAD, even_ms(4096) + 1.5)]
    waited = served(2048, even_ms(2048) + 1.5 + 3, idle_start=True)
    launched = served(512, 21, idle_start=True)

    times = model(tmp_path, [waited, launched], idle_starts=starts)

    assert times.prefill_step_ms(2048) - even_ms(2048) == pytest.approx(3.0, abs=0.02)
    assert times.chunked.alone.tokens.tolist() == [2048]


def test_decodes_beside_prompts_have_traffic_of_their_own(tmp_path: Path) -> None:
    said_ms = even_ms(2048) + 0.02 * 32 + 4e-5 * 32_000
    mixed = [beside(2048, said_ms - 3), beside(2048, said_ms - 3 + decode_ms(32, 32_000), before=1)]
    times = model(tmp_path, [], mixed_points=mixed)

    step_ms = times.chunked_step(32, 32_000, [Chunk(2048, 0)])[0] / MS

    assert step_ms == pytest.approx(said_ms - 3, abs=0.1)
    assert times.prefill_step_ms(2048) == pytest.approx(even_ms(2048), abs=0.02)


def test_a_mixed_step_is_never_shorter_than_its_decodes(tmp_path: Path) -> None:
    times = model(tmp_path, [], mixed_points=[beside(256, 3.0)])

    step_ms = times.chunked_step(200, 200_000, [Chunk(16, 0)])[0] / MS

    assert step_ms >= times.decode_step_ms(200, 200_000)


def test_traffic_alone_is_no_curve(tmp_path: Path) -> None:
    document = synthetic_profile(prefill_points=[served(1024, 30)])
    (tmp_path / "profile.json").write_text(json.dumps(document))

    with pytest.raises(InputError, match="prefill_points: no point has lengths uniform"):
        load_profile(tmp_path / "profile.json")
