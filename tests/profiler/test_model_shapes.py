from pathlib import Path

import pytest

from profiler import facts, shapes
from profiler.request_ids import Mark, kv_arrived, mark_of, request_id
from sunsim.estimate.shapes import embedding_bytes, kv_bytes_per_token, linear_elements, weight_bytes


def test_llama_and_qwen_have_the_sizes_their_makers_state() -> None:
    llama, qwen = (shapes.load_config(name, "bf16") for name in ("llama-3.1-8b", "qwen3-8b"))

    assert weight_bytes(llama) == 2 * 8_030_261_248
    assert kv_bytes_per_token(llama) == 131_072
    assert kv_bytes_per_token(qwen) == 147_456
    # Qwen3 also has a norm a head for queries and keys, which the shape leaves out: under 20 KB.
    assert weight_bytes(qwen) == pytest.approx(2 * 8_190_735_360, rel=1e-5)


def test_awq_shrinks_the_linear_layers_only() -> None:
    config = shapes.load_config("llama-3.1-8b", "awq")

    assert config["quantization_config"]["bits"] == 4
    assert 5.6e9 < weight_bytes(config) < 5.8e9
    assert embedding_bytes(config) == 128256 * 4096 * 2


def test_fp8_has_a_byte_an_element_of_the_linear_layers_and_a_scale_each() -> None:
    config = shapes.load_config("llama-3.1-8b", "fp8")

    assert "quantization_config" not in config
    saved = weight_bytes(config) - weight_bytes(config, "fp8")
    assert saved == linear_elements(config) - 32 * 7 * 4
    assert 9.0e9 < weight_bytes(config, "fp8") < 9.2e9


def test_kv_is_half_in_fp8_and_shared_by_gpus_down_to_a_head_each() -> None:
    config = shapes.load_config("llama-3.1-8b", "bf16")

    assert kv_bytes_per_token(config, "fp8_e4m3") == 65_536
    assert kv_bytes_per_token(config, "auto", 2) == 65_536
    assert kv_bytes_per_token(config, "bfloat16", 16) == 131_072 // 8


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no model named 'gpt-2'; known: llama-3\.1-8b, qwen3-8b"):
        shapes.load_config("gpt-2", "bf16")


def test_ids_say_how_to_admit_and_survive_what_vllm_appends() -> None:
    marks = (
        Mark(group=3, group_size=16),
        Mark(group=4, group_size=2, budget_tokens=4096),
        Mark(scatter=True),
    )
    for mark in marks:
        assert mark_of(request_id("decode", 12, mark) + "-1a2b3c4d") == mark
    held = request_id("decode", 12, marks[0]) + "-1a2b3c4d"
    capped = request_id("prefill", 13, marks[1]) + "-1a2b3c4d"
    assert mark_of(request_id("decode", 14) + "-1a2b3c4d") is None
    assert mark_of("cmpl-7") is None
    assert [kv_arrived(i) for i in (held, capped, "cmpl-7")] == [True, False, False]


def test_kernels_come_from_the_log() -> None:
    lines = (
        "INFO [core.py:1] Initializing a V1 LLM engine with config: Marlin",
        "INFO [cuda.py:481] Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN']",
        "INFO [flash_attn.py:9] Using FlashAttention version 3",
        "INFO [auto_awq.py:470] Using MarlinLinearKernel for AutoAWQMarlinLinearMethod",
        "INFO [__init__.py:1] Selected CutlassFP8ScaledMMLinearKernel for Fp8PerTensorOnlineLinearMethod",
        "INFO nothing of note",
    )
    log = "\n".join(lines)
    found = facts.kernels(log)

    assert found["attention"] == "FLASH_ATTN FA3"
    assert found["gemm"] == "MarlinLinearKernel, CutlassFP8ScaledMMLinearKernel"
    assert len(found["log_lines"]) == 4
    assert facts.kernels("")["gemm"] == "unquantized"
    assert "lora" not in found
    assert facts.kernels("INFO [punica_selector.py:20] Using PunicaWrapperGPU.")["lora"] == "PunicaWrapperGPU"


def test_bandwidth_is_known_by_card() -> None:
    assert facts.memory_bandwidth_gb_s("NVIDIA H100 80GB HBM3") == 3352
    assert facts.memory_bandwidth_gb_s("NVIDIA H200") == 4800
    assert facts.memory_bandwidth_gb_s("none") is None


@pytest.mark.parametrize(
    ("text", "said"), [("x", "not JSON"), ("[]", "hidden_size is missing"), ("{}", "hidden_size is missing")]
)
def test_a_config_that_is_none_is_refused_by_name(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=f"config.json: {said}"):
        shapes.load_config(str(tmp_path / "config.json"), "bf16")
