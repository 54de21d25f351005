"""Rounded weights are ones that the formats can store, and near to the exact ones."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from profiler.tuning.quantize import fp8_rounded, int4_rounded, quantized
from tests.profiler.tuning.tiny import tiny


def test_a_group_of_int4_has_sixteen_levels_that_its_scale_spaces() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 256)
    rounded = int4_rounded(weight).reshape(8, 2, 128)
    exact = weight.reshape(8, 2, 128)
    # AWQ keeps scales in float16.
    scale = ((exact.amax(-1) - exact.amin(-1)) / 15).half().float()[..., None]
    levels = rounded / scale
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert (levels.amax(-1) - levels.amin(-1)).max() <= 15.001
    assert levels.amin() >= -15.001
    # Half a level, and as much again where the zero point was rounded the other way.
    assert ((rounded - exact).abs() / scale).max() <= 1.001


def test_int4_keeps_what_it_can_store() -> None:
    levels = torch.arange(16.0).repeat(8)[None] - 5
    torch.testing.assert_close(int4_rounded(levels * 0.25), levels * 0.25, atol=0, rtol=0)


def test_a_kernel_for_bfloat16_multiplies_levels_by_a_scale_in_bfloat16() -> None:
    torch.manual_seed(0)
    weight = torch.randn(1, 128).bfloat16()
    scale = (weight.float().amax() - weight.float().amin()).div(15).half().bfloat16()
    levels = torch.arange(-15.0, 16.0).bfloat16() * scale
    rounded = int4_rounded(weight)
    assert rounded.dtype == torch.bfloat16
    assert torch.isin(rounded, levels).all()


def test_weights_of_one_sign_stay_near() -> None:
    weight = torch.linspace(1, 1.5, 128)[None]
    torch.testing.assert_close(int4_rounded(weight), weight, atol=0.05 + 1e-3, rtol=0)  # half a level of 1.5 / 15
    torch.testing.assert_close(int4_rounded(-weight), -weight, atol=0.05 + 1e-3, rtol=0)


def test_a_group_must_fill_the_layer() -> None:
    with pytest.raises(ValueError, match="192 inputs are not a multiple of 128"):
        int4_rounded(torch.zeros(4, 192))
    with pytest.raises(ValueError, match=r"LlamaAttention\.q_proj: 64 inputs are not a multiple of 128"):
        quantized(tiny(), "int4-g128")


def test_fp8_is_within_a_sixteenth_of_every_weight_and_keeps_the_largest() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 64)
    rounded = fp8_rounded(weight)
    normal = weight.abs() > weight.abs().amax(-1, keepdim=True) / 448 / 64  # below are e4m3's subnormal numbers
    assert ((rounded - weight).abs() / weight.abs())[normal].max() <= 1 / 16 + 1e-6
    torch.testing.assert_close(rounded.abs().amax(-1), weight.abs().amax(-1), rtol=1e-6, atol=0)
    assert fp8_rounded(torch.zeros(2, 4)).tolist() == [[0.0] * 4] * 2


def test_head_and_embeddings_are_not_quantized() -> None:
    exact, rounded = tiny(hidden_size=128, head_dim=32), quantized(tiny(hidden_size=128, head_dim=32), "int4-g128")
    assert torch.equal(exact.lm_head.weight, rounded.lm_head.weight)
    assert torch.equal(exact.model.embed_tokens.weight, rounded.model.embed_tokens.weight)
    assert not torch.equal(exact.model.layers[0].mlp.up_proj.weight, rounded.model.layers[0].mlp.up_proj.weight)
