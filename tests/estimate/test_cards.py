"""The data sheets agree with what was measured of the same cards, and with themselves."""

from __future__ import annotations

import pytest

from sunsim.estimate.cards import cards
from sunsim.latency.profile import list_profiles, load_named


@pytest.mark.parametrize("name", list_profiles())
def test_a_measured_card_is_as_its_data_sheet_says(name: str) -> None:
    data = load_named(name).data
    card = cards()[data.gpu]
    assert data.host["gpu_memory_mib"] == card.memory_mib
    assert data.processors == card.processors
    assert data.memory_bandwidth_gb_s == pytest.approx(card.memory_gb_s, rel=0.01)
    assert data.copy_bandwidth_gb_s
    assert data.copy_bandwidth_gb_s < card.memory_gb_s


@pytest.mark.parametrize("name", cards())
def test_rates_are_dense_and_double_where_the_numbers_are_half_as_wide(name: str) -> None:
    card = cards()[name]
    assert len(cards()) >= 12
    assert card.source
    assert card.fp8_tflops is None or card.fp8_tflops / card.bf16_tflops == pytest.approx(2, rel=0.03)
    assert card.tflops(fp8=False) == card.bf16_tflops
    assert card.tflops(fp8=True) == (card.fp8_tflops or card.bf16_tflops)
