"""What different LoRA adapters in a batch cost."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.adapters import adapters
from docs.blocks import PLACES, block
from sunsim.latency.adapters import AdapterCost, at_random, in_turn
from sunsim.latency.attention import LengthMix
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_named

SHARES = st.lists(st.floats(0.01, 1), min_size=1, max_size=20).map(lambda w: [x / sum(w) for x in w])


def test_the_climb_is_the_adapters() -> None:
    steady_ms = {1: 5.0, 2: 5.5, 4: 6.5, 8: 6.6, 16: 6.8}
    assert AdapterCost.of(steady_ms, 4) == AdapterCost(0.5, 4)
    assert AdapterCost.of(steady_ms, 5) == AdapterCost(0.5, 5)


@pytest.mark.parametrize("steady_ms", [{}, {16: 5.0}, {1: 5.0}, {1: 5.0, 2: 4.0}])
def test_no_climb(steady_ms: dict[int, float]) -> None:
    assert AdapterCost.of(steady_ms, 4).each_ms == 0


def test_two_equal_adapters() -> None:
    distinct = at_random([0.5, 0.5])
    assert [distinct(batch) for batch in (1, 2, 3)] == pytest.approx([1, 1.5, 1.75])


@given(SHARES, st.integers(1, 300))
def test_at_random_is_what_draws_give(shares: list[float], batch: int) -> None:
    distinct = at_random(shares)(batch)
    assert min(1, len(shares)) - 1e-9 <= distinct <= min(batch, len(shares)) + 1e-9
    draws = np.random.default_rng(0).choice(len(shares), (2000, batch), p=shares)
    counted = np.mean([len(np.unique(row)) for row in draws])
    assert distinct == pytest.approx(counted, abs=0.2)


def test_equal_outputs_in_turn_leave_in_their_order() -> None:
    """As many as are there at once are the last ones that came: all different, until all adapters are used."""
    distinct = in_turn(4, [100])
    assert [distinct(batch) for batch in (1, 2, 3, 4, 5, 8)] == pytest.approx([1, 2, 3, 4, 4, 4])


@given(st.integers(1, 64), st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_in_turn_keeps_its_bounds(count: int, outputs: list[int]) -> None:
    found = [in_turn(count, outputs)(batch) for batch in (1, 4, 16, 64, 256)]
    assert all(0 < each <= min(batch, count) for each, batch in zip(found, (1, 4, 16, 64, 256), strict=True))


def test_in_turn_is_what_serving_gives() -> None:
    """Requests of exponential lengths that come one a moment: those that are still there, counted."""
    source = np.random.default_rng(1)
    ends = np.arange(40_000) + source.exponential(30, 40_000)
    outputs = [round(x) for x in source.exponential(1000, 5000) + 1]
    moments = range(1000, 40_000, 50)
    there = [np.flatnonzero(ends[:now] > now) for now in moments]
    counted = np.mean([len(np.unique(each % 16)) for each in there])
    said = np.mean([in_turn(16, outputs)(len(each)) for each in there])
    assert said == pytest.approx(counted, rel=0.03)


@pytest.mark.parametrize(
    "name",
    [
        "h100-80gb/llama-3.1-8b-lora-r16",
        "h200-141gb/llama-3.1-8b-lora-r16-a4",
        "h200-141gb/llama-3.1-8b-lora-r16-a16",
    ],
)
def test_a_step_takes_longer_the_more_adapters_share_it(name: str) -> None:
    profile = load_named(name)
    mix = LengthMix((900,), (80,))
    times_ms = [
        LatencyModel(profile, mix, (1 / count,) * count).decode_step_ms(64, 64_000) for count in (1, 2, 4, 12, 16)
    ]
    assert all(more > less for less, more in pairwise(times_ms))


def test_a_skew_saves_adapters() -> None:
    profile = load_named("h200-141gb/llama-3.1-8b-lora-r16-a16")
    mix, rare = LengthMix((900,), (80,)), 0.1 / 15
    even = LatencyModel(profile, mix, (1 / 16,) * 16)
    skewed = LatencyModel(profile, mix, (0.9, *[rare] * 15))
    assert skewed.decode_step_ms(32, 32_000) < even.decode_step_ms(32, 32_000)
    assert skewed.decode_step_ms(1, 1000) == pytest.approx(even.decode_step_ms(1, 1000))


def test_the_page_shows_what_profiles_say() -> None:
    assert block(PLACES["adapters"].read_text(encoding="utf-8"), "adapters") == adapters()["adapters"]
