import pytest

from profiler import facts, shapes
from profiler.request_ids import Mark, kv_arrived, mark_of, request_id


def test_llama_and_qwen_have_the_sizes_their_makers_state() -> None:
    llama, qwen = (shapes.load_config(name, "bf16") for name in ("llama-3.1-8b", "qwen3-8b"))

    assert shapes.weight_bytes(llama) == 2 * 8_030_261_248
    assert shapes.kv_bytes_per_token(llama) == 131_072
    assert shapes.kv_bytes_per_token(qwen) == 147_456
    # Qwen3 also has a norm a head for queries and keys, which the shape leaves out: under 20 KB.
    assert shapes.weight_bytes(qwen) == pytest.approx(2 * 8_190_735_360, rel=1e-5)


def test_awq_shrinks_the_linear_layers_only() -> None:
    config = shapes.load_config("llama-3.1-8b", "awq")

    assert config["quantization_config"]["bits"] == 4
    assert 5.6e9 < shapes.weight_bytes(config) < 5.8e9
    assert shapes.weight_bytes(config) - shapes.streamed_weight_bytes(config) == 128256 * 4096 * 2


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no model named 'gpt-2'; known: llama-3\.1-8b, qwen3-8b"):
        shapes.load_config("gpt-2", "bf16")


def test_ids_say_how_to_admit_and_survive_what_vllm_appends() -> None:
    marks = (
        Mark(group=3, group_size=16),
        Mark(group=4, group_size=2, budget_tokens=4096),
        Mark(blocks="scattered"),
        Mark(blocks="ordered"),
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
        "INFO nothing of note",
    )
    log = "\n".join(lines)
    found = facts.kernels(log)

    assert found["attention"] == "FLASH_ATTN FA3"
    assert found["gemm"] == "MarlinLinearKernel"
    assert len(found["log_lines"]) == 3
    assert facts.kernels("")["gemm"] == "unquantized"
    assert "lora" not in found
    assert facts.kernels("INFO [punica_selector.py:20] Using PunicaWrapperGPU.")["lora"] == "PunicaWrapperGPU"


def test_bandwidth_is_known_by_card() -> None:
    assert facts.memory_bandwidth_gb_s("NVIDIA H100 80GB HBM3") == 3352
    assert facts.memory_bandwidth_gb_s("NVIDIA H200") == 4800
    assert facts.memory_bandwidth_gb_s("none") is None
