"""A profile of what nobody measured: each measured point of a source, times the ratio of the two rooflines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sunsim.errors import InputError
from sunsim.estimate.roofline import ACTIVATION_BYTES, Roofline
from sunsim.estimate.shapes import MOST_GPUS, sharing_fault
from sunsim.estimate.source import Source
from sunsim.estimate.worker import Worker
from sunsim.latency.attention import KERNEL

Raw = dict[str, Any]
MIB = 2**20
CARRIED = ("first_token_points", "pauses", "host_stalls", "served_lengths", "arrival_points")
"""What is the host's doing, or the requests': as measured at the source."""


def target_roofline(source: Source, target: Worker) -> Roofline:
    """The target's terms: it reaches what the source does of its card's peaks, on the same host."""
    layers = target.layers / source.worker.layers
    own = source.roofline
    return replace(
        Roofline.of(target, source.reached),
        fixed_ms=own.fixed_ms * layers,
        launch_ms=own.launch_ms * layers,
        largest_graph=own.largest_graph,
    )


def scaled(source: Source, target: Worker, model: str, variant: str) -> Raw:
    """The document of a profile, all but where it comes from.

    Args:
        source: measured.
        target: what is to be estimated.
        model: what to call it.
        variant: of its weights.

    Raises:
        InputError: the model does not fit.
    """
    raw: Raw = json.loads(source.profile.path.read_text(encoding="utf-8"))
    ratio = Ratio(source.roofline, target_roofline(source, target))
    max_model_len = min(
        source.profile.max_model_len, target.config.get("max_position_embeddings") or source.profile.max_model_len
    )
    engine_args = raw["engine_args"] | {
        "max_model_len": max_model_len,
        "tensor_parallel_size": target.gpus,
        "quantization": target.quantization if target.quantization == "fp8" else None,
    }
    kernels = {"attention": KERNEL} if keeps_kernel(source, target) else {}
    return {
        "schema_version": 1,
        "gpu": target.gpu,
        "card": f"{target.card.card} (estimated)",
        "memory_bandwidth_gb_s": target.card.memory_gb_s,
        "processors": target.card.processors,
        "host": {"gpu_memory_mib": memory_mib(source, target), "cpu": "none: estimated, not measured"},
        "versions": raw.get("versions", {}),
        "model": model,
        "variant": variant,
        "model_config": target.model_config,
        "engine_args": engine_args,
        "kernels": kernels,
        "num_gpu_blocks": blocks(source, target, max_model_len),
        "block_size": source.profile.block_size,
        "cudagraph_capture_sizes": raw["cudagraph_capture_sizes"],
        "weight_bytes": weights(source, target),
        "streamed_weight_bytes": target.streamed + weights(source, target) - target.weights,
        "kv_bytes_per_token": target.kv_bytes,
        "decode_points": _times(raw["decode_points"], ratio.decode),
        "prefill_points": _times(raw["prefill_points"], ratio.prefill),
        "mixed_points": _times(raw.get("mixed_points", []), ratio.mixed),
        "idle_starts": [ratio.idle_start(point) for point in raw.get("idle_starts", [])],
        **{key: raw[key] for key in CARRIED if key in raw},
    }


class Ratio:
    """How many times as long as at the source a step takes at the target."""

    def __init__(self, source: Roofline, target: Roofline) -> None:
        self._source = source
        self._target = target

    def decode(self, point: Mapping[str, Any]) -> float:
        return self._of(lambda line: line.decode_ms(point["batch"], point["context_tokens"]))

    def prefill(self, point: Mapping[str, Any]) -> float:
        return self._of(lambda line: line.chunked_ms(point["new_tokens"], point["attended_pairs"]))

    def mixed(self, point: Mapping[str, Any]) -> float:
        """Of a step that mixes, and of the decode step before it where that counts too."""
        batch, context, chunk = point["batch"], point["context_tokens"], point["chunk_tokens"]
        pairs = point.get("attended_pairs") or chunk * point["chunk_context"] + chunk * (chunk + 1) // 2
        before = point.get("decode_steps_before", 0)
        return self._of(
            lambda line: (
                line.chunked_ms(batch * line.width + chunk, pairs, context) + before * line.decode_ms(batch, context)
            )
        )

    def idle_start(self, point: Mapping[str, Any]) -> Raw:
        """The step itself by its terms; its launch, which is the host's, by the layers that it goes through."""
        chunk = point["chunk_tokens"]
        pairs = chunk * (chunk + 1) // 2
        ratio = self._of(lambda line: line.chunked_ms(chunk, pairs)) if chunk else self.decode(point)
        launch = self._target.launch_ms / self._source.launch_ms if self._source.launch_ms else 1.0
        times = _scaled(point, ratio)
        launches = {key: _by(value, launch) for key, value in point.items() if key.startswith("launch_ms")}
        return times | launches

    def _of(self, time_ms: Callable[[Roofline], float]) -> float:
        return time_ms(self._target) / time_ms(self._source)


def _times(points: Iterable[Raw], ratio: Callable[[Raw], float]) -> list[Raw]:
    return [_scaled(point, ratio(point)) for point in points]


def _scaled(point: Mapping[str, Any], ratio: float) -> Raw:
    """A point with other times, without the power that the source's card drew."""
    kept = {key: value for key, value in point.items() if key != "avg_power_w"}
    return {key: _by(value, ratio) if key.startswith("step_ms_") else value for key, value in kept.items()}


def _by(value: Any, ratio: float) -> Any:
    """A time, or several, times a ratio, to a tenth of a microsecond; never nothing where there was something."""
    if isinstance(value, list):
        return [_by(each, ratio) for each in value]
    return max(1e-3, round(value * ratio, 4)) if value else value


def weights(source: Source, target: Worker) -> int:
    """Bytes on each GPU; as far as the source's differ from their shapes, so do the same variant's."""
    share = source.weight_share if target.quantization == source.worker.quantization else 1.0
    return round(target.weights * share)


def memory_mib(source: Source, target: Worker) -> int:
    """Of one card: as measured at the source where it is the same one."""
    same = target.gpu == source.worker.gpu
    return int(source.profile.memory_bytes / MIB) if same else target.card.memory_mib


def room(source: Source, target: Worker) -> float:
    """Bytes for KV on each GPU: what the engine is given, less weights, activations, graphs and the context of CUDA."""
    data = source.profile.data
    given = memory_mib(source, target) * MIB * data.engine_args.gpu_memory_utilization
    tokens = data.engine_args.max_num_batched_tokens
    more = _activations(target, tokens) - _activations(source.worker, tokens)
    return given - weights(source, target) - max(0.0, source.reserved + more)


def _activations(worker: Worker, tokens: int) -> float:
    """Bytes that a step of so many tokens holds at its widest: the residual, and the MLP's gate, up and product."""
    width: float = 2 * worker.config["hidden_size"] + 3 * worker.config["intermediate_size"] / worker.gpus
    return ACTIVATION_BYTES * tokens * width


def blocks(source: Source, target: Worker, max_model_len: int) -> int:
    """KV blocks; vLLM wants them to hold one request of the longest length.

    Raises:
        InputError: they do not; says how many GPUs would do.
    """
    size = source.profile.block_size
    found = _blocks(source, target)
    if found * size >= max_model_len:
        return found
    more = (gpus for gpus in range(target.gpus + 1, MOST_GPUS + 1) if not sharing_fault(target.config, gpus))
    wider = (replace(target, gpus=gpus) for gpus in more)
    enough = next((each.gpus for each in wider if _blocks(source, each) * size >= max_model_len), None)
    message = (
        f"{weights(source, target) / 1e9:.1f} GB of weights on a card of {target.card.memory_mib / 1024:.0f} GiB leave no room "
        f"for the KV of {max_model_len} tokens, "
        + (
            f"must be at least {enough} on this card"
            if enough
            else f"and no more than {MOST_GPUS} such cards do either"
        )
    )
    raise InputError(message, "--tensor-parallel-size")


def _blocks(source: Source, target: Worker) -> int:
    return max(0, int(room(source, target) // (source.profile.block_size * target.kv_bytes)))


def keeps_kernel(source: Source, target: Worker) -> bool:
    """Whether the target runs the attention kernel that was measured: on another architecture vLLM takes another."""
    same = target.card.architecture == source.worker.card.architecture
    return same and source.profile.data.kernels.attention == KERNEL
