"""The step-time model says what was measured where it was, and something sane in between and beyond."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.latency.steps import Chunk, DecodeLine
from tests.latency.committed import NAMES, even_model, measured_curves, model, profile
from tests.synthetic import BATCHES, CONTEXTS, synthetic_profile

each_profile = pytest.mark.parametrize("name", NAMES)
ROUNDING_PS = 1_000_000  # slopes are whole picoseconds: half of one, over 400,000 tokens and more
FAR = 10**6  # tokens, beyond every context measured
LAUNCHES = {"h200-141gb/llama-3.1-8b-lora-r16-a4": (36, 0.25), "h200-141gb/qwen3-8b-fp8": (10, 0.12)}
"""How far off steps with short chunks (ms) and with long ones (share) may be, where launches take more than elsewhere."""


def lines(times: LatencyModel, batch: int) -> list[tuple[int, DecodeLine]]:
    """The pieces of a batch size, each with the context where it begins."""
    found, start = [], batch
    while start < FAR:
        line = times.decode_line(batch, start)
        assert line.limit_tokens > start
        found.append((start, line))
        start = line.limit_tokens
    return found


def at(line: DecodeLine, context_tokens: int) -> int:
    return line.base_ps + line.slope_ps * context_tokens


@each_profile
def test_lines_pass_near_what_was_measured(name: str) -> None:
    errors = [
        even_model(name).decode_step_ms(batch, round(context)) / step_ms - 1
        for batch, (contexts, values) in measured_curves(name).items()
        if contexts.size > 1
        for context, step_ms in zip(contexts.tolist(), values.tolist(), strict=True)
    ]
    assert np.max(np.abs(errors)) < 0.03
    assert np.mean(np.abs(errors)) < 0.005


@each_profile
def test_is_near_points_that_stand_alone(name: str) -> None:
    for batch, (contexts, values) in measured_curves(name).items():
        if contexts.size == 1:
            assert even_model(name).decode_step_ms(batch, round(contexts[0])) == pytest.approx(values[0], rel=0.07)


@each_profile
def test_is_near_batches_of_unequal_lengths(name: str) -> None:
    errors: dict[str, list[float]] = {"mixed": [], "extreme": []}
    for point in profile(name).data.decode_points:
        if point.lengths in errors:
            step_ms = even_model(name).decode_step_ms(point.batch, round(point.context_tokens))
            errors[point.lengths].append(step_ms / point.step_ms_median - 1)
    assert np.max(np.abs(errors["mixed"] + errors["extreme"]), initial=0.0) < 0.08
    assert abs(sum(errors["mixed"])) < 0.08 + 0.01 * len(errors["mixed"])


@each_profile
def test_lines_meet_where_one_ends_and_the_next_begins(name: str) -> None:
    for batch in range(1, 257):
        pieces = lines(model(name), batch)
        for (_, one), (start, other) in pairwise(pieces):
            assert at(one, start) == pytest.approx(at(other, start), abs=ROUNDING_PS), (batch, start)


@each_profile
def test_step_time_is_positive_and_never_falls_with_context(name: str) -> None:
    for batch in range(1, 300):
        for start, line in lines(model(name), batch):
            assert at(line, start) > 0
            assert line.slope_ps >= 0


@each_profile
def test_what_lies_beyond_the_measurements_is_flagged(name: str) -> None:
    for batch, (contexts, _) in measured_curves(name).items():
        if contexts.size == 1:
            continue
        inside = (contexts[0] + contexts[-1]) / 2
        assert even_model(name).decode_line(batch, round(inside)).outside is None
        assert even_model(name).decode_line(batch, round(contexts[0])).outside is None
        assert even_model(name).decode_line(batch, round(contexts[-1]) + 2).outside
    assert even_model(name).decode_line(max(measured_curves(name)) + 1, 100_000).outside


@each_profile
def test_prefill_steps_are_near_the_measured_ones(name: str) -> None:
    errors = []
    for point in profile(name).data.prefill_points:
        if point.lengths == "traffic" or point.idle_start or point.new_tokens <= 1024:
            continue  # launched slower than computed, so what the host does decides
        before = int((point.model_extra or {})["context_before"])
        chunks = [Chunk(point.new_tokens // point.prompts, before)] * point.prompts
        assert model(name).chunked_step(0, 0, chunks)[1] is None
        said_ms = model(name).chunked.even_ms(0, 0, point.new_tokens, point.attended_pairs)
        errors.append(said_ms / point.step_ms_median - 1)
    assert np.median(np.abs(errors)) < 0.03
    assert np.max(np.abs(errors)) < 0.2


@each_profile
def test_mixed_steps_are_near_the_measured_ones(name: str) -> None:
    """A chunk's launch holds up the output of the step before, so both steps' extra time counts as the chunk's."""
    errors = {}
    for point in profile(name).data.mixed_points:
        if point.lengths == "traffic":
            continue
        extra = point.model_extra or {}
        around_ms = (extra["previous_extra_ms"] or 0.0) + (extra["next_extra_ms"] or 0.0)
        taken_ms = point.step_ms_median + around_ms
        chunk = Chunk(point.chunk_tokens, point.chunk_context)
        tokens = point.batch + point.chunk_tokens
        said_ms = model(name).chunked.even_ms(point.batch, point.context_tokens, tokens, point.pairs)
        errors[point.batch, chunk] = (said_ms - taken_ms, said_ms / taken_ms - 1)
    for (batch, chunk), (error_ms, error) in errors.items():
        sys.stdout.write(f"{name} {batch} decodes, {chunk}: {error_ms:+.1f} ms, {error:+.1%}\n")
    # With adapters the host takes still longer to launch short chunks than the GPU to compute them; longest on host I,
    # where the output before a chunk of 1,024 or 4,096 tokens beside 16 decodes came 65 ms late.
    launch_ms, off = LAUNCHES.get(name, (12 if "-lora-" in name else 8, 0.12))
    assert all(abs(error) < off for (_, chunk), (_, error) in errors.items() if chunk.tokens > 1024)
    assert all(abs(error_ms) < launch_ms for (_, chunk), (error_ms, _) in errors.items() if chunk.tokens <= 1024)


@pytest.fixture
def plain(tmp_path: Path) -> LatencyModel:
    """The model of a profile that follows a formula at every batch size and context."""
    spread = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")
    points = [
        {"batch": batch, "context_tokens": batch * context, "steps": 20}
        | dict.fromkeys(spread, 7 + 0.02 * batch + 4e-5 * batch * context)
        for batch in BATCHES
        for context in CONTEXTS
    ]
    (tmp_path / "profile.json").write_text(json.dumps(synthetic_profile(decode_points=points)))
    return LatencyModel(load_profile(tmp_path / "profile.json"))


@pytest.mark.parametrize("batch", BATCHES)
def test_a_linear_profile_gives_its_own_formula(batch: int, plain: LatencyModel) -> None:
    for context in (batch * 128, batch * 777, batch * 1500):
        assert plain.decode_step_ms(batch, context) == pytest.approx(7 + 0.02 * batch + 4e-5 * context, rel=1e-6)


def test_between_two_measured_batches_of_different_graphs_time_is_linear_in_the_batch(plain: LatencyModel) -> None:
    # 65 is padded to 72 and 128 to itself: 100 lies in a graph of neither.
    assert plain.decode_step_ms(100, 100_000) == pytest.approx(7 + 0.02 * 100 + 4, rel=1e-6)


@pytest.mark.parametrize(
    ("batch", "like"), [(66, 65), (72, 65), (121, 128), (127, 128), (34, 33), (40, 33), (249, 256)]
)
def test_a_batch_takes_as_long_as_the_measured_one_in_its_graph(batch: int, like: int, plain: LatencyModel) -> None:
    assert plain.decode_step_ms(batch, 100_000) == pytest.approx(plain.decode_step_ms(like, 100_000), rel=1e-6)


@pytest.mark.parametrize(("tokens", "prompts"), [(16, 1), (1024, 1), (8192, 1), (512, 2), (4096, 2), (1024, 8)])
def test_a_linear_profile_gives_its_own_prefill_times(tokens: int, prompts: int, plain: LatencyModel) -> None:
    expected = 8 + prompts * (0.02 * tokens + 8e-7 * tokens * (tokens + 1) / 2)
    assert plain.prefill_step_ms(tokens, prompts) == pytest.approx(expected, rel=1e-6)


def test_a_later_chunk_attends_to_what_came_before(plain: LatencyModel) -> None:
    step_ps, outside = plain.chunked_step(0, 0, [Chunk(1024, 4096)])
    assert step_ps / 1e9 == pytest.approx(8 + 0.02 * 1024 + 8e-7 * (1024 * 4096 + 1024 * 1025 / 2), rel=1e-6)
    assert outside is None


def test_a_mixed_step_reads_the_decodes_kv_and_computes_their_tokens(plain: LatencyModel) -> None:
    step_ps, _ = plain.chunked_step(64, 64_000, [Chunk(960, 0)])
    assert step_ps / 1e9 == pytest.approx(8 + 0.02 * 1024 + 8e-7 * 960 * 961 / 2 + 4e-5 * 64_000, rel=1e-3)
