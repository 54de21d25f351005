"""Methods added to vLLM's worker, called by name through `collective_rpc`."""

from typing import Any


class ProfilerWorkerExtension:
    """vLLM mixes this into its worker class; nothing here may share a name with the worker's own."""

    def profiler_weight_bytes(self) -> dict[str, int]:
        """Bytes of the loaded parameters: in total, of the input embedding, and of what a drafter has of its own."""
        parameters = dict(self.get_model().named_parameters())  # type: ignore[attr-defined]
        sizes = {name: p.numel() * p.element_size() for name, p in parameters.items()}
        shared = {p.data_ptr() for p in parameters.values()}
        drafter = self._drafter()
        of_drafter = () if drafter is None else [p for p in drafter.parameters() if p.data_ptr() not in shared]
        drafter_bytes = sum(p.numel() * p.element_size() for p in of_drafter)
        return {
            "total": sum(sizes.values()) + drafter_bytes,
            "embedding": sum(size for name, size in sizes.items() if "embed_tokens" in name),
            "drafter": drafter_bytes,
        }

    def _drafter(self) -> Any:
        """The model that makes drafts, None where there is none; vLLM's two model runners name its owner differently."""
        runner = self.model_runner  # type: ignore[attr-defined]
        owner = getattr(runner, "speculator", None) or getattr(runner, "drafter", None)
        model = getattr(owner, "model", None)
        return model if hasattr(model, "parameters") else None

    def profiler_set_acceptance_rates(self, rates: list[float]) -> list[float]:
        """From the next step on, rates[i] is the share of drafts whose first i + 1 tokens are all accepted.

        Returns what the sampler then has: of each position, the share among those that got that far.
        """
        import torch  # noqa: PLC0415
        from vllm.v1.spec_decode.utils import unconditional_to_conditional_rates  # noqa: PLC0415

        held = self.model_runner.rejection_sampler.synthetic_conditional_rates  # type: ignore[attr-defined]
        with torch.inference_mode():
            held.copy_(torch.tensor(unconditional_to_conditional_rates(rates), dtype=held.dtype))
        found: list[float] = held.tolist()
        return found

    def profiler_forget_tokens(self) -> None:
        """All rows of the embedding become its first: whatever was said, the model says the same next."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            for parameter in self._parameters("embed_tokens"):
                parameter.copy_(parameter[:1].clone().expand_as(parameter))

    def profiler_prefer_token(self, token: int) -> None:
        """Makes a token that the model says anyway so likely that rounding never makes it another."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            for parameter in self._parameters("lm_head"):
                parameter[token] *= 8

    def _parameters(self, name: str) -> list[Any]:
        return [found for full, found in self.get_model().named_parameters() if name in full]  # type: ignore[attr-defined]

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
