"""Methods added to vLLM's worker, called by name through `collective_rpc`."""

from typing import Any


class ProfilerWorkerExtension:
    """vLLM mixes this into its worker class; nothing here may share a name with the worker's own."""

    def profiler_weight_bytes(self) -> dict[str, int]:
        """Bytes of the loaded parameters: in total, and of the input embedding."""
        parameters = list(self.get_model().named_parameters())  # type: ignore[attr-defined]
        sizes = {name: p.numel() * p.element_size() for name, p in parameters}
        return {
            "total": sum(sizes.values()),
            "embedding": sum(size for name, size in sizes.items() if "embed_tokens" in name),
        }

    def profiler_processors(self) -> int:
        """Streaming multiprocessors of the card."""
        import torch  # noqa: PLC0415

        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count)

    def profiler_copy_bandwidth_gb_s(self) -> float:
        """Device-to-device copy of 1 GiB, read plus write, best of ten, in 1e9 bytes a second."""
        import torch  # noqa: PLC0415

        size = 2**30
        source: Any = torch.empty(size, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        best_ms = float("inf")
        for _ in range(10):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            target.copy_(source)
            end.record()
            end.synchronize()
            best_ms = min(best_ms, begin.elapsed_time(end))
        del source, target
        torch.cuda.empty_cache()
        return 2 * size / best_ms / 1e6
