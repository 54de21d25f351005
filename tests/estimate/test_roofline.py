"""Terms of a step: closed forms, and what makes a step faster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sunsim.estimate.roofline import REDUCE_MS, Reached, Roofline
from sunsim.estimate.scale import target_roofline
from tests.estimate.models import LLAMA, source, worker

PEAK = Reached(1.0, 1.0)


def test_a_term_is_bytes_over_bandwidth_or_operations_over_rate() -> None:
    line = Roofline.of(worker(), PEAK)
    # 141 GB of weights, less 2.1 GB of embeddings, at 3,350 GB/s.
    assert line.weights_ms == pytest.approx((141_107_412_992 - 128_256 * 8192 * 2) / 3350e6)
    # 80 layers of keys and values, 8 heads of 128 in two bytes.
    assert line.kv_token_ms == pytest.approx(2 * 80 * 8 * 128 * 2 / 3350e6)
    # Two products, of queries with keys and of weights with values, of two operations each.
    assert line.pair_ms == pytest.approx(4 * 80 * 8192 / 989e9)
    assert (line.reduce_ms, line.reduce_token_ms) == (0, 0)
    assert line.decode_ms(1, 1000) == pytest.approx(line.weights_ms + 1000 * line.kv_token_ms)
    assert line.chunked_ms(8192, 0) == pytest.approx(8192 * line.token_ms)


def test_what_is_fixed_is_added_and_a_launch_hides_what_is_shorter() -> None:
    line = replace(Roofline.of(worker(), PEAK), fixed_ms=2.0, launch_ms=1e6, largest_graph=512)
    assert line.decode_ms(1, 0) == pytest.approx(2 + line.weights_ms)
    assert line.chunked_ms(513, 0) == 1e6
    assert line.chunked_ms(512, 0) == pytest.approx(2 + max(line.weights_ms, 512 * line.token_ms))


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_gpus_that_share_a_model_read_and_compute_their_part_of_it(gpus: int) -> None:
    one, shared = (Roofline.of(worker(gpus=n), PEAK) for n in (1, gpus))
    for term in ("weights_ms", "token_ms", "kv_token_ms", "pair_ms"):
        assert getattr(shared, term) == pytest.approx(getattr(one, term) / gpus, rel=1e-6)
    assert shared.reduce_ms == pytest.approx(2 * 80 * REDUCE_MS["NVLink"])
    # A ring: each card sends 2 (n - 1) / n of the activations, at half of the link's figure.
    sent = 2 * 80 * 8192 * 2 * 2 * (gpus - 1) / gpus
    assert shared.reduce_token_ms == pytest.approx(sent / 450e6)


def test_kv_heads_are_not_cut_further_than_to_one() -> None:
    assert worker(gpus=16).kv_bytes == worker(gpus=8).kv_bytes


def test_fp8_is_computed_in_where_the_card_can() -> None:
    hopper, ampere = (Roofline.of(worker(gpu, variant="fp8"), PEAK) for gpu in ("h100-80gb", "a100-80gb"))
    assert hopper.token_ms == pytest.approx(2 * worker().linear / 1979e9)
    assert ampere.token_ms == pytest.approx(2 * worker().linear / 312e9)


def test_no_step_is_slower_with_more_bandwidth() -> None:
    slow = worker()
    fast = replace(slow, card=slow.card.model_copy(update={"memory_gb_s": 5000}))
    lines = [target_roofline(source(LLAMA), each) for each in (slow, fast)]
    for batch, context in ((1, 100), (64, 100_000), (256, 300_000)):
        assert lines[1].decode_ms(batch, context) < lines[0].decode_ms(batch, context)
    for tokens in (16, 8192):
        assert lines[1].chunked_ms(tokens, tokens**2) <= lines[0].chunked_ms(tokens, tokens**2)
