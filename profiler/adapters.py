"""LoRA adapters of random weights, and how vLLM is told to serve them: requests of several adapters share each step."""

import asyncio
import json
from pathlib import Path
from typing import Any

from profiler.engine import Engine
from sunsim.estimate.shapes import BF16_BYTES, LINEAR_MODULES, linear_modules

# Within what vLLM draws dummy weights from, so that outputs stay finite.
LARGEST_WEIGHT = 1e-3

# vLLM numbers the adapters of its own warm-up from 1.
FIRST_ID = 1001
LOAD_TIMEOUT_S = 240.0


class AdapterError(Exception):
    """The engine has not all adapters on the GPU; what it would measure is not multi-LoRA serving."""


def tensor_shapes(config: dict[str, Any], rank: int) -> dict[str, tuple[int, int]]:
    """Shape of each tensor of an adapter of all linear layers, by the name that PEFT gives it."""
    found = {}
    for layer in range(config["num_hidden_layers"]):
        for module, (block, inputs, outputs) in linear_modules(config).items():
            prefix = f"base_model.model.model.layers.{layer}.{block}.{module}"
            found[f"{prefix}.lora_A.weight"] = (rank, inputs)
            found[f"{prefix}.lora_B.weight"] = (outputs, rank)
    return found


def adapter_bytes(config: dict[str, Any], rank: int) -> int:
    """Bytes of one adapter in bf16."""
    return BF16_BYTES * sum(rows * columns for rows, columns in tensor_shapes(config, rank).values())


def write_adapter(directory: Path, config: dict[str, Any], rank: int) -> Path:
    """An adapter of random bf16 weights, in PEFT's files; needs what vLLM brings along."""
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    directory.mkdir(parents=True, exist_ok=True)
    stated = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": list(LINEAR_MODULES),
        "bias": "none",
    }
    (directory / "adapter_config.json").write_text(json.dumps(stated, indent=2))
    source = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.empty(shape, dtype=torch.bfloat16).uniform_(-LARGEST_WEIGHT, LARGEST_WEIGHT, generator=source)
        for name, shape in tensor_shapes(config, rank).items()
    }
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


async def load_adapters(engine: Engine, directory: Path, count: int) -> None:
    """Puts `count` adapters with the weights in `directory` on the GPU and serves one request with each.

    Raises AdapterError if they are not all there in the end.
    """
    from vllm.lora.request import LoRARequest  # noqa: PLC0415

    ids = range(FIRST_ID, FIRST_ID + count)
    try:
        async with asyncio.timeout(LOAD_TIMEOUT_S):
            engine.adapters = [LoRARequest(f"adapter-{i}", i, str(directory)) for i in ids]
            for adapter in engine.adapters:
                await engine.llm.add_lora(adapter)
            for _ in ids:
                await engine.request("prefill", 64, 4)
            await engine.settle()
            loaded = set(await engine.llm.list_loras())
    except Exception as error:
        msg = f"the LoRA adapters could not be loaded: {type(error).__name__} {error}".strip()
        raise AdapterError(msg) from error
    if loaded != set(ids):
        msg = f"the engine holds LoRA adapters {sorted(loaded)}, must hold {list(ids)}"
        raise AdapterError(msg)
    engine.drain_steps()
