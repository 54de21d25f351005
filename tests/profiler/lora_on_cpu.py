"""A small Llama or Qwen as vLLM builds it for LoRA, on a CPU: what of our adapters arrives in its layers.

`python -m tests.profiler.lora_on_cpu MODEL RANK OUT.json`; runs only beside vLLM.
"""

# ruff: noqa: ARG003  # the signatures are vLLM's

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.profiler.fake_platform import FakePlatform, install_platform


class CPUPlatform(FakePlatform):
    """With as much of a device as layers need to be built."""

    device_name = "cpu"

    @classmethod
    def get_punica_wrapper(cls) -> str:
        return "vllm.lora.punica_wrapper.punica_cpu.PunicaWrapperCPU"

    @classmethod
    def get_attn_backend_cls(cls, *args: Any, **kwargs: Any) -> str:
        return "vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend"


install_platform(CPUPlatform())  # before anything else of vLLM is imported

import torch
import vllm.lora.lora_model
import vllm.lora.model_manager
from vllm.config import set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.lora.request import LoRARequest
from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager
from vllm.model_executor.models import ModelRegistry

from profiler import shapes
from profiler.adapters import adapter_bytes, write_adapter
from profiler.settings import EngineSettings, LoraSettings
from profiler.start import engine_arguments, write_model
from profiler.worker_extension import ProfilerWorkerExtension
from sunsim.estimate.shapes import embedding_bytes

SMALL = {"num_hidden_layers": 2, "vocab_size": 1024, "hidden_size": 512, "intermediate_size": 768}
ADAPTERS = range(1001, 1004)


def main(model_name: str, rank: int, directory: Path) -> dict[str, Any]:
    """The share of each adapter's slot in each layer that is not zero, and the bytes of a slot against the file's."""
    config = shapes.load_config(model_name, "bf16") | SMALL
    settings = EngineSettings(lora=LoraSettings(rank, len(ADAPTERS)), max_model_len=2048, max_num_batched_tokens=512)
    arguments = engine_arguments(settings, write_model(directory / "model", config), dummy_weights=True)
    vllm_config = AsyncEngineArgs(**arguments, enforce_eager=True).create_engine_config()
    # Pages are pinned by a driver.
    vllm.lora.lora_model.PIN_MEMORY = vllm.lora.model_manager.PIN_MEMORY = False
    torch.set_default_dtype(torch.bfloat16)
    with set_current_vllm_config(vllm_config):
        init_distributed_environment(1, 0, f"file://{directory}/rendezvous", 0, "gloo")
        initialize_model_parallel(1, 1)
        model_class, _ = ModelRegistry.resolve_model_cls(config["architectures"], vllm_config.model_config)
        model = model_class(vllm_config=vllm_config)
        parameters = sum(p.numel() * p.element_size() for p in model.parameters())
        manager = LRUCacheWorkerLoRAManager(vllm_config, torch.device("cpu"), model.embedding_modules)
        model = manager.create_lora_manager(model, vllm_config)
        adapter = write_adapter(directory / "adapter", config, rank)
        for number in ADAPTERS:
            manager.add_adapter(LoRARequest(f"adapter-{number}", number, str(adapter)))
    stacks = {
        name: [*module.lora_a_stacked, *module.lora_b_stacked]
        for name, module in manager._adapter_manager.modules.items()
    }
    worker: Any = ProfilerWorkerExtension()
    worker.get_model = lambda: model
    return {
        "held": sorted(manager.list_adapters()),
        "modules": sorted(stacks),
        "least_filled": min(float((slot != 0).float().mean()) for s in stacks.values() for t in s for slot in t),
        "slot_bytes": sum(t[0].numel() * t.element_size() for s in stacks.values() for t in s),
        "adapter_bytes": adapter_bytes(config, rank),
        "parameter_bytes": parameters,
        "weight_bytes": worker.profiler_weight_bytes(),
        "embedding_bytes": embedding_bytes(config),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = main(sys.argv[1], int(sys.argv[2]), Path(scratch))
    Path(sys.argv[3]).write_text(json.dumps(found))
