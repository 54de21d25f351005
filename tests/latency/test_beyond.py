"""Beyond what was measured, nothing gets cheaper: whatever profile is shipped, and of whichever input there is more."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.clock import PS_PER_MS
from sunsim.latency.attention import LengthMix
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile, profiles_root
from sunsim.latency.steps import Chunk
from sunsim.latency.transfer import load_transfers, measured_link
from tests.latency.committed import NAMES, measured_curves, model, profile
from tests.latency.test_front_end import point
from tests.synthetic import synthetic_profile

each_profile = pytest.mark.parametrize("name", NAMES)
ROUNDING_MS = 1e-3
MORE = [1.0, 1.001, 1.1, 1.5, 2, 3, 8, 100]
SHORT = 1000
"""Tokens of context; batches of the mix hold more a request."""
MIX = LengthMix((200, 900, 3000), (100, 300, 20))
QUICKER_BEYOND = {
    "h200-141gb/llama-3.1-8b-awq": 0.006,
    "h200-141gb/qwen3-8b-awq": 0.006,
    "h200-141gb/qwen3-8b-bf16": 0.015,
    "h200-141gb/qwen3-8b-fp8": 0.01,
}
"""Prefill rates beyond the best measured: where traffic takes something off the largest steps, that fades beyond them."""


def never_fall(values: list[float]) -> bool:
    return bool(np.isfinite(values).all()) and all(0 < one <= other + ROUNDING_MS for one, other in pairwise(values))


@cache
def decode_models(name: str) -> list[LatencyModel]:
    """Of even lengths, and of lengths that meet in batches."""
    return [model(name), LatencyModel(profile(name), MIX)]


def best_prefill_rate(name: str) -> float:
    """Tokens a millisecond of the best measured step."""
    return max(point.new_tokens / point.step_ms_median for point in profile(name).data.prefill_points)


@each_profile
@pytest.mark.parametrize("length", [1, 16, 256, 1024])
def test_larger_prefill_steps_are_no_quicker_a_token_than_the_best_measured(name: str, length: int) -> None:
    largest = max(point.new_tokens for point in profile(name).data.prefill_points)
    steps = [(round(largest * more / length), length) for more in MORE]
    step_ms = [model(name).prefill_step_ms(tokens, prompts) for prompts, tokens in steps]
    assert never_fall(step_ms)
    taken = [(prompts * tokens, ms) for (prompts, tokens), ms in zip(steps, step_ms, strict=True)]
    beyond = [tokens / ms for tokens, ms in taken if tokens > largest]
    assert max(beyond) <= best_prefill_rate(name) * (1 + QUICKER_BEYOND.get(name, 1e-9))


@each_profile
def test_smaller_prefill_steps_than_measured_take_as_long_as_the_smallest(name: str) -> None:
    least = min(point.new_tokens for point in profile(name).data.prefill_points)
    step_ms = [model(name).prefill_step_ms(tokens) for tokens in range(1, least + 1)]
    assert never_fall(step_ms)
    assert step_ms[0] == pytest.approx(step_ms[-1], rel=1e-3)


def test_sixteen_prompts_take_twice_as_long_as_eight() -> None:
    """The largest steps measured were of 8,192 tokens; this one is over the rate that the card can reach otherwise."""
    times = model("h100-80gb/llama-3.1-8b-bf16")
    assert times.prefill_step_ms(1024, 16) == pytest.approx(2 * times.prefill_step_ms(1024, 8), rel=0.01)
    assert times.prefill_step_ms(1024, 16) == pytest.approx(374, rel=0.02)


@each_profile
def test_a_chunk_takes_longer_the_more_comes_before_it(name: str) -> None:
    step_ms = [
        model(name).chunked_step(0, 0, [Chunk(512, before)])[0] / PS_PER_MS for before in range(0, 200_000, 9000)
    ]
    assert never_fall(step_ms)
    assert step_ms[-1] > step_ms[0]


@each_profile
@pytest.mark.parametrize("context", [20, 138, 1000, 4000])
def test_larger_decode_batches_emit_no_more_a_second_than_the_best_measured(name: str, context: int) -> None:
    curves = measured_curves(name)
    best = max(batch / step_ms.min() for batch, (_, step_ms) in curves.items())
    batches = [round(max(curves) * more) for more in (1.01, 1.5, 2, 4)]
    for times in decode_models(name)[: 1 if context < SHORT else 2]:
        step_ms = [times.decode_step_ms(batch, batch * context) for batch in batches]
        assert never_fall(step_ms)
        assert (
            max(batch / ms for batch, ms in zip(batches, step_ms, strict=True)) <= best * 1.01
        )  # lines through measured points may be a little below one of them


@each_profile
@pytest.mark.parametrize("batch", [1, 3, 32, 100, 256, 600])
def test_more_context_costs_what_reading_it_does_at_least(name: str, batch: int) -> None:
    data = profile(name).data
    assert data.memory_bandwidth_gb_s
    read_ms = data.kv_bytes_per_token / (data.memory_bandwidth_gb_s * 1e6)
    most = batch * max(point.context_tokens / point.batch for point in data.decode_points)
    contexts = [round(most * more) for more in MORE]
    for times in decode_models(name):
        step_ms = [times.decode_step_ms(batch, context) for context in contexts]
        assert never_fall(step_ms)
        for (low, low_ms), (high, high_ms) in pairwise(zip(contexts, step_ms, strict=True)):
            assert (high_ms - low_ms) / (high - low) >= read_ms * (1 - 1e-3)


@each_profile
@pytest.mark.parametrize("batch", [1, 3, 32, 100, 256, 600])
def test_less_context_takes_no_less_than_the_shortest_step_measured(name: str, batch: int) -> None:
    shortest = min(step_ms.min() for _, step_ms in measured_curves(name).values())
    for times in decode_models(name):
        step_ms = [times.decode_step_ms(batch, batch * context) for context in (1, 10, 50, 100, 138, 139, 200)]
        assert never_fall(step_ms)
        # Fits through measured points may be a little below one of them.
        assert step_ms[0] >= shortest * 0.97


@each_profile
@pytest.mark.parametrize(("batch", "context"), [(1, 500), (64, 1000), (256, 1000), (600, 2000)])
def test_steps_with_a_chunk_are_no_quicker_than_their_tokens_alone_or_their_decodes(
    name: str, batch: int, context: int
) -> None:
    times = model(name)
    chunks = [8192 - batch, 8192, 16_384, 65_536]
    step_ms = [times.chunked_step(batch, batch * context, [Chunk(chunk, 0)])[0] / PS_PER_MS for chunk in chunks]
    assert never_fall([times.decode_step_ms(batch, batch * context), *step_ms])
    beyond = [(batch + chunk) / ms for chunk, ms in zip(chunks, step_ms, strict=True)]
    assert max(beyond[1:]) <= best_prefill_rate(name)


@each_profile
def test_a_further_token_of_a_prompt_takes_the_front_end_what_it_did_of_those_measured(name: str) -> None:
    largest = max(point.prompt_tokens for point in profile(name).data.first_token_points)
    prompts = [round(largest * more) for more in MORE]
    delays = [model(name).frontend_in_ps(prompt) / PS_PER_MS for prompt in prompts]
    assert never_fall(delays)
    slope = (delays[0] - model(name).frontend_in_ps(1) / PS_PER_MS) / (largest - 1)
    assert slope > 0
    for prompt, delay in zip(prompts, delays, strict=True):
        assert delay - delays[0] == pytest.approx(slope * (prompt - largest), rel=1e-3)


@each_profile
def test_the_way_out_never_falls_with_the_batch(name: str) -> None:
    out_ps = model(name).out_ps(np.array([1, 100, 256, 512, 4096, 65_536]))
    assert never_fall((out_ps / PS_PER_MS).tolist())


def test_a_larger_transfer_is_no_quicker_a_byte_than_the_best_measured() -> None:
    data = load_transfers(profiles_root() / "h100-80gb" / "links" / "nixl-nvlink.json").data
    link = measured_link(data)
    alone = [point for point in data.transfer_points if point.concurrent == 1]
    best = max(point.bytes / point.transfer_ms_median for point in alone)
    sizes = [round(max(point.bytes for point in alone) * more) for more in MORE]
    whole_ms = [(link.posts_ps(size) + link.latency_ps + link.moves_ps(size)) / PS_PER_MS for size in sizes]
    assert never_fall(whole_ms)
    assert max(size / ms for size, ms in zip(sizes, whole_ms, strict=True)) <= best * (1 + 1e-9)


def written(folder: Path, **changes: Any) -> LatencyModel:
    (folder / "profile.json").write_text(json.dumps(synthetic_profile(**changes)))
    return LatencyModel(load_profile(folder / "profile.json"))


@pytest.mark.parametrize("delays_ms", [[2.0], [2.0, 2.0], [2.0, 1.0]])
def test_a_front_end_line_without_a_slope_does_not_make_longer_prompts_free(
    delays_ms: list[float], tmp_path: Path
) -> None:
    points = [point("idle", 0, 1.0) | {"prompt_tokens": 500 * i} for i in range(1, len(delays_ms) + 1)]
    for idle, delay_ms in zip(points, delays_ms, strict=True):
        idle["submit_to_queued_ms"] = {"median": delay_ms}
    times = written(tmp_path, first_token_points=points)
    most = 500 * len(delays_ms)
    assert never_fall([times.frontend_in_ps(prompt) / PS_PER_MS for prompt in (1, most, 2 * most)])
    assert times.frontend_in_ps(10 * most) == pytest.approx(10 * times.frontend_in_ps(most))


def test_a_last_piece_that_noise_made_flat_does_not_make_more_work_free(tmp_path: Path) -> None:
    found = synthetic_profile()
    prefill = [dict(point) for point in found["prefill_points"] if point["new_tokens"] < 8192]
    flat = dict(prefill[-1], prompts=1, new_tokens=8192, attended_pairs=8193)
    decode = [dict(point) for point in found["decode_points"] if point["batch"] == 1]
    decode[-1]["step_ms_median"] = decode[-2]["step_ms_median"]
    times = written(tmp_path, prefill_points=[*prefill, flat], decode_points=decode)
    assert times.prefill_step_ms(64, 512) >= 4 * times.prefill_step_ms(64, 128) * 0.99
    assert times.decode_step_ms(1, 80_000) - times.decode_step_ms(1, 8192) >= 4e-5 * 0.5 * (80_000 - 8192)


def test_of_one_measured_step_more_work_takes_proportionally_longer(tmp_path: Path) -> None:
    found = synthetic_profile()
    one = {"decode_points": found["decode_points"][:1], "prefill_points": found["prefill_points"][1:2]}
    times = written(tmp_path, **one, memory_bandwidth_gb_s=None)
    context, tokens = found["decode_points"][0]["context_tokens"], found["prefill_points"][1]["new_tokens"]
    assert times.decode_step_ms(1, 10 * context) == pytest.approx(10 * times.decode_step_ms(1, context), rel=1e-3)
    assert times.decode_step_ms(10, 10 * context) == pytest.approx(10 * times.decode_step_ms(1, context), rel=1e-3)
    assert times.prefill_step_ms(tokens, 10) >= 10 * times.prefill_step_ms(tokens) * (1 - 1e-6)
