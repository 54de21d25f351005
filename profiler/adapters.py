"""LoRA adapters of random weights, and how vLLM is told to serve them: requests of several adapters share each step."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiler import shapes

if TYPE_CHECKING:
    from profiler.engine import Engine

# What vLLM's LoRAConfig takes.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
DEFAULT_ADAPTERS = 4

# Within what vLLM draws dummy weights from, so that outputs stay finite.
LARGEST_WEIGHT = 1e-3

# vLLM numbers the adapters of its own warm-up from 1.
FIRST_ID = 1001
LOAD_TIMEOUT_S = 120.0


class AdapterError(Exception):
    """The engine has not all adapters on the GPU; what it would measure is not multi-LoRA serving."""


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """`max_loras` adapters of one rank, all on the GPU; names are vLLM's."""

    max_lora_rank: int
    max_loras: int = DEFAULT_ADAPTERS

    def __post_init__(self) -> None:
        if self.max_lora_rank not in RANKS:
            known = ", ".join(map(str, RANKS))
            msg = f"--lora-rank: is {self.max_lora_rank}, must be one of {known}"
            raise ValueError(msg)
        if self.max_loras < 1:
            msg = f"--adapters: is {self.max_loras}, must be at least 1"
            raise ValueError(msg)

    @property
    def variant(self) -> str:
        """As part of a profile's variant."""
        return f"lora-r{self.max_lora_rank}"

    def arguments(self) -> dict[str, Any]:
        """Arguments of vLLM's AsyncEngineArgs.

        Without `lora_target_modules` each step would also compute an adapter of the output head, which these have not.
        """
        return {
            "enable_lora": True,
            "max_loras": self.max_loras,
            "max_cpu_loras": self.max_loras,
            "max_lora_rank": self.max_lora_rank,
            "lora_target_modules": list(shapes.LINEAR_MODULES),
        }


def lora_settings(rank: int | None, adapters: int | None) -> LoraSettings | None:
    """None without a rank; raises ValueError for what vLLM would not take."""
    if rank is not None:
        return LoraSettings(rank, DEFAULT_ADAPTERS if adapters is None else adapters)
    if adapters is not None:
        msg = "--adapters: needs --lora-rank"
        raise ValueError(msg)
    return None


def tensor_shapes(config: dict[str, Any], rank: int) -> dict[str, tuple[int, int]]:
    """Shape of each tensor of an adapter of all linear layers, by the name that PEFT gives it."""
    found = {}
    for layer in range(config["num_hidden_layers"]):
        for module, (block, inputs, outputs) in shapes.linear_modules(config).items():
            prefix = f"base_model.model.model.layers.{layer}.{block}.{module}"
            found[f"{prefix}.lora_A.weight"] = (rank, inputs)
            found[f"{prefix}.lora_B.weight"] = (outputs, rank)
    return found


def adapter_bytes(config: dict[str, Any], rank: int) -> int:
    """Bytes of one adapter in bf16."""
    return shapes.BF16_BYTES * sum(rows * columns for rows, columns in tensor_shapes(config, rank).values())


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
        "target_modules": list(shapes.LINEAR_MODULES),
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


async def load_adapters(engine: "Engine", directory: Path, count: int) -> None:
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
