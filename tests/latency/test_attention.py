"""How a GPU shares decode attention out, by hand and in bulk, and the lengths that meet in a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.latency.attention import (
    TILE_BLOCKS,
    AttentionKernel,
    Grid,
    LengthMix,
    blocks,
    even_contexts,
    kernel_of,
    mixed_blocks,
)
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from tests.latency.committed import NAMES, profile
from tests.synthetic import synthetic_profile

Each = list[int]


ALONE = 3.5


def blocks_of(kernel: AttentionKernel, contexts: Each) -> float:
    """Of one batch."""
    return float(blocks(kernel.spans(np.array([contexts])), ALONE)[0])


def mixed(mix: LengthMix, batch: int, grid: Grid = Grid.FINE) -> list[float]:
    """Blocks at no context, and a token."""
    (line,) = mixed_blocks(H100, (mix,), batch, ALONE, 20, grid)
    return [float(value) for value in line]


TWO = AttentionKernel(heads=1, processors=2)
H100 = AttentionKernel(heads=8, processors=132)
CHAT = LengthMix((200, 900, 4000), (50, 150, 400))


@pytest.mark.parametrize(
    ("contexts", "expected"),
    [
        ([128, 128], 2.0),  # one tile of a block and its overhead on each processor
        ([256], 1.5),  # one tile of 3, alone on two: as fast as both together
        ([384, 128], 3.0),  # 2 with both busy, then 2 left for one of them at twice its share
        ([129, 128], 2.5),  # a block begun is a block read
        ([1280, 128], 7.0),  # more than 7 of 11 blocks is more than a share: two tiles of 6, and one of 2 after them
    ],
)
def test_two_processors_by_hand(contexts: Each, expected: float) -> None:
    assert blocks_of(TWO, contexts) == pytest.approx(expected)


@given(st.lists(st.lists(st.integers(1, 16_000), min_size=7, max_size=7), min_size=1, max_size=5))
def test_many_batches_at_once_are_each_as_alone(batches: list[Each]) -> None:
    assert blocks(H100.spans(np.array(batches)), ALONE).tolist() == pytest.approx(
        [blocks_of(H100, contexts) for contexts in batches]
    )


def test_one_processor_of_many_reads_faster_than_its_share_but_not_as_fast_as_all() -> None:
    # Of one block nothing can be split.
    assert blocks_of(AttentionKernel(1, 64), [100]) == pytest.approx((1 + TILE_BLOCKS) / ALONE)


def test_order_matters_long_ones_last_take_longest() -> None:
    contexts = [1000] * 40 + [2000]
    assert blocks_of(H100, contexts) > blocks_of(H100, contexts[::-1])


@given(st.lists(st.integers(1, 16_000), min_size=1, max_size=60))
def test_no_faster_than_all_processors_reading_and_no_slower_than_one_after_the_other(contexts: list[int]) -> None:
    read = sum(-(-context // 128) for context in contexts) * 8 / 132
    assert blocks_of(H100, contexts) >= read * (1 - 1e-9)
    assert blocks_of(H100, contexts) <= (read + 8 * 32 * len(contexts) / 132) * 132


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=40), st.sampled_from([(8, 132), (4, 66), (6, 33)]))
def test_heads_and_processors_shrink_together(contexts: list[int], shape: tuple[int, int]) -> None:
    heads, processors = shape
    whole = blocks_of(AttentionKernel(heads, processors), contexts)
    assert blocks_of(AttentionKernel(2 * heads, 2 * processors), contexts) == pytest.approx(whole)


def test_requests_are_met_anywhere_in_their_output_and_oldest_first() -> None:
    contexts = LengthMix((1000, 1000), (1, 99)).contexts(batch=50, samples=40)

    assert contexts.shape == (40, 50)
    assert (contexts >= 1000).all()
    assert (contexts <= 1098).all()
    assert (np.diff(contexts, axis=1) <= 0).all()
    assert contexts.mean() == pytest.approx(1000 + 0.99 * 49, abs=3)


def test_of_very_many_requests_some_evenly_spaced_ones_are_taken() -> None:
    mix = LengthMix.of(np.arange(1, 10_001), np.ones(10_000, dtype=int))

    assert len(mix.prompt_tokens) == len(mix.output_tokens) <= 4000
    assert np.mean(mix.prompt_tokens) == pytest.approx(5000, rel=0.01)


def test_a_mix_takes_longer_than_even_parts_of_the_same_context() -> None:
    at_none, a_token = mixed(CHAT, 64)

    for context in (64 * 1000, 64 * 2000):
        assert at_none + a_token * context > blocks_of(H100, even_contexts(64, context).tolist())


@pytest.mark.parametrize("mix", [LengthMix((1000,), (1,)), LengthMix((1,), (1,)), LengthMix((16_000,), (100,))])
def test_requests_of_one_length_have_a_time_at_any_context(mix: LengthMix) -> None:
    times = LatencyModel(profile(NAMES[0]), mix)
    for batch in (1, 2, 64, 67, 256, 300):
        steps_ms = [times.decode_step_ms(batch, batch * each) for each in (1, 500, 1000, 9000)]
        assert steps_ms == sorted(steps_ms)
        assert 3 < steps_ms[0] < 16
        assert steps_ms[-1] < 5 + 0.6 * batch


def test_a_line_of_requests_of_one_length_is_near_that_length() -> None:
    for batch in range(65, 257):
        at_none, a_token = mixed(LengthMix((1000,), (1300,)), batch)
        # Even parts come in waves.
        assert at_none + a_token * batch * 1500 == pytest.approx(blocks_of(H100, [1500] * batch), rel=0.12)


@pytest.mark.parametrize(("grid", "sizes"), [(Grid.FINE, (128, 132, 136)), (Grid.COARSE, (128, 136, 144))])
def test_between_sizes_of_the_grid_blocks_are_interpolated(grid: Grid, sizes: tuple[int, int, int]) -> None:
    below, middle, above = (mixed(CHAT, batch, grid) for batch in sizes)
    assert middle == pytest.approx(np.mean([below, above], axis=0))


@pytest.mark.parametrize("grid", Grid)
def test_all_sizes_up_to_any_take_few_looks(grid: Grid) -> None:
    looked = {size for size in range(1, 5000) if size % grid.step(size) == 0}
    assert set(range(1, 17)) <= looked
    assert len(looked) < 400
    assert all(any(low in looked for low in range(size - 64, size + 1)) for size in range(65, 5000))


def test_mixes_looked_at_together_are_each_as_alone() -> None:
    long = LengthMix((9000,), (10,))
    assert mixed_blocks(H100, (CHAT, long), 100, ALONE, 20, Grid.FINE).tolist() == [mixed(CHAT, 100), mixed(long, 100)]


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_of_the_shipped_profiles_is_known(name: str) -> None:
    assert kernel_of(profile(name).data) == H100


def test_another_kernel_card_or_head_is_not_known(tmp_path: Path) -> None:
    known: dict[str, Any] = {
        "processors": 132,
        "kernels": {"attention": "FLASH_ATTN FA3"},
        "model_config": {"num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096},
    }
    others: list[dict[str, Any]] = [
        {"kernels": {"attention": "TRITON_ATTN"}},
        {"processors": None},
        {"model_config": {**known["model_config"], "head_dim": 64}},
        {"model_config": {}},
    ]
    found = []
    for changes in ({}, *others):
        (tmp_path / "p.json").write_text(json.dumps(synthetic_profile(**(known | changes))))
        found.append(kernel_of(load_profile(tmp_path / "p.json").data))
    assert found == [H100, None, None, None, None]
