# ruff: noqa: ARG002  # the signatures are vLLM's

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from profiler import shapes
from profiler.adapters import AdapterError, adapter_bytes, load_adapters, tensor_shapes, write_adapter
from profiler.engine import Engine
from profiler.measure import Order, set_up
from profiler.recording import StepLog
from profiler.settings import EngineSettings, LoraSettings, lora_settings
from profiler.start import engine_arguments

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")

FIRST = "base_model.model.model.layers.0"


def test_an_adapter_has_two_matrices_for_each_linear_layer() -> None:
    llama, qwen = (shapes.load_config(name, "bf16") for name in ("llama-3.1-8b", "qwen3-8b"))
    found = tensor_shapes(llama, 16)

    assert len(found) == 32 * 7 * 2
    assert found[f"{FIRST}.self_attn.k_proj.lora_A.weight"] == (16, 4096)
    assert found[f"{FIRST}.self_attn.k_proj.lora_B.weight"] == (1024, 16)
    assert found["base_model.model.model.layers.31.mlp.down_proj.lora_A.weight"] == (16, 14336)
    assert found["base_model.model.model.layers.31.mlp.down_proj.lora_B.weight"] == (4096, 16)
    # PEFT counts as many trainable parameters for Llama-3.1-8B with all linear layers.
    assert adapter_bytes(llama, 16) == 2 * 41_943_040
    assert tensor_shapes(qwen, 64)["base_model.model.model.layers.35.mlp.up_proj.lora_B.weight"] == (12288, 64)


def test_without_lora_the_engine_gets_and_a_profile_states_what_it_did_before() -> None:
    names = EngineSettings().recorded()
    assert not [name for name in names if "lora" in name]
    assert not [n for n in engine_arguments(EngineSettings(), Path("m"), dummy_weights=True) if "lora" in n]


def test_lora_is_among_the_engines_arguments_and_in_the_profile(tmp_path: Path) -> None:
    settings = EngineSettings(lora=LoraSettings(max_lora_rank=64, max_loras=4))
    stated = {
        "enable_lora": True,
        "max_loras": 4,
        "max_cpu_loras": 4,
        "max_lora_rank": 64,
        "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }
    arguments = engine_arguments(settings, tmp_path, dummy_weights=True)
    assert {name: value for name, value in arguments.items() if "lora" in name} == stated
    assert stated.items() <= settings.recorded().items()

    made = [
        set_up(Order(model="llama-3.1-8b", variant=variant, out=tmp_path / "p.json", settings=settings))
        for variant in ("bf16", "awq")
    ]
    assert [fresh["variant"] for fresh in made] == ["lora-r64", "awq-lora-r64"]
    assert made[0]["adapter_bytes"] == 2 * 4 * 41_943_040
    assert stated.items() <= made[0]["engine_args"].items()


def test_what_vllm_would_not_take_is_refused() -> None:
    assert lora_settings(None, None) is None
    assert lora_settings(16, None) == LoraSettings(16, 4)
    with pytest.raises(ValueError, match="--lora-rank: is 20, must be one of 1, 8, 16, "):
        lora_settings(20, 4)
    with pytest.raises(ValueError, match="--adapters: is 0, must be at least 1"):
        lora_settings(16, 0)
    with pytest.raises(ValueError, match="--adapters: needs --lora-rank"):
        lora_settings(None, 4)


class FakeLLM:
    """Takes down which adapter each request brings."""

    def __init__(self, most: int = 99) -> None:
        self.most = most
        self.loaded: list[int] = []
        self.used: list[int | None] = []

    async def add_lora(self, request: Any) -> bool:
        self.loaded = [*self.loaded, request.lora_int_id][-self.most :]
        return True

    async def list_loras(self) -> set[int]:
        return set(self.loaded)

    async def generate(self, prompt: Any, params: Any, identifier: str, *, lora_request: Any) -> AsyncIterator[Any]:
        self.used.append(lora_request and lora_request.lora_int_id)
        yield SimpleNamespace(finished=True, metrics=None, kv_transfer_params=None)


def engine_with(llm: FakeLLM, tmp_path: Path) -> Engine:
    return Engine(llm, EngineSettings(), StepLog(tmp_path / "steps.jsonl"))


@needs_vllm
@pytest.mark.parametrize("count", [3, 64])
def test_requests_take_adapters_in_turn_after_each_has_been_warmed(tmp_path: Path, count: int) -> None:
    llm = FakeLLM()
    engine = engine_with(llm, tmp_path)
    asyncio.run(load_adapters(engine, tmp_path, count))
    assert llm.loaded == [*range(1001, 1001 + count)]
    assert set(llm.used) == set(llm.loaded)
    llm.used.clear()
    asyncio.run(engine.batch([64] * 2 * count, [1] * 2 * count))
    assert {llm.used.count(i) for i in llm.loaded} == {2}


@needs_vllm
def test_requests_bring_no_adapter_without_lora(tmp_path: Path) -> None:
    llm = FakeLLM()
    asyncio.run(engine_with(llm, tmp_path).batch([64], [1]))
    assert llm.used == [None]


@needs_vllm
def test_an_engine_that_does_not_hold_all_adapters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"holds LoRA adapters \[1002, 1003\], must hold \[1001, 1002, 1003\]"):
        asyncio.run(load_adapters(engine_with(FakeLLM(most=2), tmp_path), tmp_path, 3))


@needs_vllm
def test_an_adapter_file_has_what_its_name_says(tmp_path: Path) -> None:
    from safetensors.torch import load_file  # noqa: PLC0415

    config = shapes.load_config("qwen3-8b", "bf16") | {"num_hidden_layers": 1}
    tensors = load_file(write_adapter(tmp_path, config, 8) / "adapter_model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == tensor_shapes(config, 8)
    assert all(str(tensor.dtype) == "torch.bfloat16" and tensor.count_nonzero() for tensor in tensors.values())


@needs_vllm
@pytest.mark.parametrize(("model", "rank"), [("llama-3.1-8b", 16), ("qwen3-8b", 64)])
def test_vllm_puts_every_tensor_of_every_adapter_into_its_layer(tmp_path: Path, model: str, rank: int) -> None:
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "tests.profiler.lora_on_cpu", model, str(rank), str(out)]
    subprocess.run(command, check=True, timeout=240)
    found = json.loads(out.read_text())

    assert found["held"] == [1001, 1002, 1003]
    layers = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
    assert found["modules"] == sorted(f"model.layers.{i}.{layer}" for i in range(2) for layer in layers)
    # A random weight may round to zero.
    assert found["least_filled"] > 0.99
    assert found["slot_bytes"] == found["adapter_bytes"]
    assert found["weight_bytes"] == {"total": found["parameter_bytes"], "embedding": found["embedding_bytes"]}
