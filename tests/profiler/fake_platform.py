"""A platform for vLLM on a machine without a GPU; the engine it starts never touches a device.

`python -m tests.profiler.fake_platform OUT VARIANT` measures a quick profile of the fake GPU through vLLM's real front
end, scheduler and connector. VARIANT is of the weights, `lora-r16`, or a method of making drafts, of which there are 3.
"""

# ruff: noqa: ARG003  # the signatures are vLLM's

import asyncio
import sys
from pathlib import Path
from typing import Any

import vllm.platforms
from vllm.platforms.interface import Platform, PlatformEnum


class FakePlatform(Platform):  # type: ignore[misc]
    """A device that vLLM has no opinion about."""

    _enum = PlatformEnum.OOT
    device_name = "fake"
    device_type = "cpu"
    dispatch_key = "CPU"

    @classmethod
    def get_device_name(cls, device_id: int = 0) -> str:
        return "fake"

    @classmethod
    def check_and_update_config(cls, vllm_config: Any) -> None:
        vllm_config.compilation_config.cudagraph_capture_sizes = [1, 2, 4, *range(8, 257, 8), *range(272, 513, 16)]

    @classmethod
    def set_device(cls, device: Any) -> None:
        pass

    @classmethod
    def discover_numa_topology(cls) -> list[list[int]]:
        return []

    @classmethod
    def support_hybrid_kv_cache(cls) -> bool:
        return True


def install_platform(platform: Platform | None = None) -> None:
    """To be called before anything else of vLLM is imported; a forked engine inherits it."""
    vllm.platforms._current_platform = platform or FakePlatform()


def main(out: str, variant: str) -> None:
    """A quick profile at `out`, the engine's log and steps beside it."""
    install_platform()
    from profiler.measure import Order, measure  # noqa: PLC0415
    from profiler.progress import Progress  # noqa: PLC0415
    from profiler.settings import EngineSettings, LoraSettings, SpeculativeSettings  # noqa: PLC0415

    order = Order(
        model="llama-3.1-8b",
        variant=variant if variant in {"awq", "fp8"} else "bf16",  # type: ignore[arg-type]
        out=Path(out),
        quick=True,
        log_dir=Path(out).parent / "logs",
        settings=EngineSettings(
            distributed_executor_backend="tests.profiler.fake_vllm.FakeExecutor",
            lora=LoraSettings(max_lora_rank=16, max_loras=3) if variant == "lora-r16" else None,
            speculative=SpeculativeSettings(variant, 3) if variant in {"eagle", "ngram_gpu"} else None,
        ),
    )
    asyncio.run(measure(order, Progress()))


if __name__ == "__main__":
    main(*sys.argv[1:])
