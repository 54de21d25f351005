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
from tests.synthetic import drafting_profile, synthetic_profile

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


def drafting(path: Path, *mixed: dict[str, Any], prompts: list[tuple[int, float]]) -> LatencyModel:
    """The model of a profile with three drafts beside one without, in which steps with prompts took so much longer."""
    document = synthetic_profile()
    document["mixed_points"] = [
        beside(tokens - 32, even_ms(tokens) + 4e-5 * 32_000 + extra_ms) for tokens, extra_ms in prompts
    ]
    (path / "plain.json").write_text(json.dumps(document))
    (path / "k3.json").write_text(json.dumps(drafting_profile(3, mixed_points=list(mixed))))
    return LatencyModel(load_profile(path / "k3.json"), plain=LatencyModel(load_profile(path / "plain.json")))


def with_drafts_ms(batch: int, chunk: int, context: int) -> float:
    """What even prompts say of decodes with three drafts and a chunk: all their tokens, and pairs of the chunk alone."""
    return 8 + 0.02 * (4 * batch + chunk) + 8e-7 * chunk * (chunk + 1) / 2 + 4.125e-5 * context


def test_decodes_with_drafts_take_more_than_their_tokens(tmp_path: Path) -> None:
    # 30 us each, whatever the size of the step.
    mixed = [
        beside(chunk, with_drafts_ms(batch, chunk, 32_000) + 0.03 * batch, batch=batch)
        for batch, chunk in ((200, 1024), (200, 4096), (100, 2048))
    ]
    times = drafting(tmp_path, *mixed, prompts=[])

    for batch, chunk in ((8, 1024), (64, 2048), (200, 4096)):
        step_ms = times.chunked_step(batch, 32_000, [Chunk(chunk, 0)])[0] / MS
        assert step_ms == pytest.approx(with_drafts_ms(batch, chunk, 32_000) + 0.03 * batch, abs=0.1)


def test_prompts_beside_drafts_take_what_they_took_without(tmp_path: Path) -> None:
    mixed = [beside(1848, with_drafts_ms(200, 1848, 32_000) - 3 + 0.03 * 200, batch=200)]
    times = drafting(tmp_path, *mixed, prompts=[(2048, -2), (2648, -3)])

    asked = (1024, 2048, 2648, 8000)
    extra_ms = [
        times.chunked_step(8, 8000, [Chunk(tokens - 32, 0)])[0] / MS - with_drafts_ms(8, tokens - 32, 8000)
        for tokens in asked
    ]

    # Half as much of half the tokens; of steps that are larger no more. A decode's part is known from steps of 2,648 tokens.
    assert extra_ms == pytest.approx([0.24 + each for each in (-1, -2, -3, -3)], abs=0.1)
