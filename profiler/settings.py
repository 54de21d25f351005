"""What an engine is started with, under vLLM's names."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sunsim.estimate.shapes import LINEAR_MODULES

# What vLLM's LoRAConfig takes.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
DEFAULT_ADAPTERS = 4

# The phases of a profile need these.
LEAST_SEQS = 2
LEAST_BATCHED_TOKENS = 512
LEAST_MODEL_LEN = 2048

MOVES_KV = "TimedNixlConnector"
"""The KV connector of workers that prompts' KV is moved between."""

KV_CACHE_DTYPES = ("auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2")


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
            "lora_target_modules": list(LINEAR_MODULES),
        }


def lora_settings(rank: int | None, adapters: int | None) -> LoraSettings | None:
    """None without a rank; raises ValueError for what vLLM would not take."""
    if rank is not None:
        return LoraSettings(rank, DEFAULT_ADAPTERS if adapters is None else adapters)
    if adapters is not None:
        msg = "--adapters: needs --lora-rank"
        raise ValueError(msg)
    return None


# Methods that can be measured; both keep vLLM's scheduling one step ahead, which its plain n-gram does not.
EAGLE, NGRAM = "eagle", "ngram_gpu"
MOST_SPECULATIVE_TOKENS = 16

KByBatch = tuple[tuple[int, int, int], ...]
"""(from, to, drafts) by how many requests a step has."""


@dataclass(frozen=True, slots=True)
class SpeculativeSettings:
    """Drafts whose acceptance is drawn, not decided by what the models say; names are vLLM's."""

    method: str
    num_speculative_tokens: int
    num_speculative_tokens_per_batch_size: KByBatch | None = None

    def __post_init__(self) -> None:
        if self.method not in {EAGLE, NGRAM}:
            msg = f"--speculative: is {self.method}, must be {EAGLE} or {NGRAM}"
            raise ValueError(msg)
        if not 1 <= self.num_speculative_tokens <= MOST_SPECULATIVE_TOKENS:
            most = MOST_SPECULATIVE_TOKENS
            msg = f"--num-speculative-tokens: is {self.num_speculative_tokens}, must be from 1 to {most}"
            raise ValueError(msg)

    @property
    def has_drafter(self) -> bool:
        """Whether a model makes the drafts: one layer with KV of its own."""
        return self.method == EAGLE

    def recorded(self) -> dict[str, Any]:
        """As a profile states them."""
        by_batch = self.num_speculative_tokens_per_batch_size
        return {"method": self.method, "num_speculative_tokens": self.num_speculative_tokens} | (
            {"num_speculative_tokens_per_batch_size": [list(entry) for entry in by_batch]} if by_batch else {}
        )

    def arguments(self, drafter: Path | None) -> dict[str, Any]:
        """vLLM's speculative_config; no draft is accepted until the worker is told other rates.

        drafter: directory of the drafter's config.json, for a method that has one.
        """
        return (
            self.recorded()
            | ({"model": str(drafter)} if drafter else {})
            | {
                "rejection_sample_method": "synthetic",
                "synthetic_acceptance_rates": [0.0] * self.num_speculative_tokens,
            }
        )


def k_by_batch(text: str) -> KByBatch:
    """`[[1, 16, 3], [17, 256, 0]]`; raises ValueError for what is no such list. vLLM itself checks the ranges."""
    wanted = '--num-speculative-tokens-per-batch-size: must be a list such as "[[1, 16, 3], [17, 256, 0]]"'
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ValueError(wanted) from error
    is_list = isinstance(entries, list) and all(isinstance(entry, list) and len(entry) == 3 for entry in entries)
    if not is_list or not all(isinstance(value, int) for entry in entries for value in entry):
        raise ValueError(wanted)
    return tuple((first, last, drafts) for first, last, drafts in entries)


def speculative_settings(method: str | None, tokens: int | None, by_batch: str | None) -> SpeculativeSettings | None:
    """None without a method; raises ValueError for what cannot be measured."""
    if method is None:
        if tokens is not None or by_batch is not None:
            msg = f"--num-speculative-tokens: needs --speculative, {EAGLE} or {NGRAM}"
            raise ValueError(msg)
        return None
    if tokens is None:
        msg = "--speculative: needs --num-speculative-tokens"
        raise ValueError(msg)
    return SpeculativeSettings(method, tokens, None if by_batch is None else k_by_batch(by_batch))


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Arguments of every reference profile and run, under vLLM's names."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    gpu_memory_utilization: float = 0.85
    max_model_len: int = 16384
    enable_prefix_caching: bool = False
    enable_chunked_prefill: bool = True
    async_scheduling: bool = True
    dtype: str = "bfloat16"
    kv_cache_dtype: str = "auto"
    tensor_parallel_size: int = 1
    seed: int = 0
    distributed_executor_backend: str | None = None
    num_gpu_blocks_override: int | None = None
    quantization: str | None = None
    """By vLLM itself, of bf16 weights; AWQ stands in the model's config.json instead."""
    kv_connector: str | None = "ArrivedKVConnector"
    """None is an ordinary worker; on one with a connector, vLLM frees the blocks of a preempted request a step later."""
    lora: LoraSettings | None = None
    speculative: SpeculativeSettings | None = None

    @property
    def num_speculative_tokens(self) -> int:
        """Drafts a request has in a step, at most; 0 without any."""
        return self.speculative.num_speculative_tokens if self.speculative else 0

    def __post_init__(self) -> None:
        """Raises ValueError for what an engine would not take, or a profile has no use for."""
        for name, least in (
            ("max_num_seqs", LEAST_SEQS),
            (
                "max_num_batched_tokens",
                max(LEAST_BATCHED_TOKENS, self.max_num_seqs * (1 + self.num_speculative_tokens)),
            ),
            ("max_model_len", LEAST_MODEL_LEN),
            ("tensor_parallel_size", 1),
        ):
            if (value := getattr(self, name)) < least:
                msg = f"--{name.replace('_', '-')}: is {value}, must be at least {least}"
                raise ValueError(msg)
        if not 0 < self.gpu_memory_utilization <= 1:
            msg = f"--gpu-memory-utilization: is {self.gpu_memory_utilization}, must be above 0 and at most 1"
            raise ValueError(msg)
        if self.kv_cache_dtype not in KV_CACHE_DTYPES:
            msg = f"--kv-cache-dtype: is {self.kv_cache_dtype}, must be one of {', '.join(KV_CACHE_DTYPES)}"
            raise ValueError(msg)
        if self.lora and self.speculative:
            msg = "--speculative: must be without --lora-rank"
            raise ValueError(msg)

    def _flat(self) -> dict[str, Any]:
        """What was not asked for, LoRA or a quantization, is not there, as in profiles from before it could be."""
        flat = asdict(self)
        del flat["lora"], flat["speculative"]
        if self.quantization is None:
            del flat["quantization"]
        return flat | (self.lora.arguments() if self.lora else {})

    def recorded(self) -> dict[str, Any]:
        """As a profile states them."""
        return (
            self._flat()
            | {"kv_role": "kv_both" if self.kv_connector else None}
            | ({"speculative_config": self.speculative.recorded()} if self.speculative else {})
        )

    def arguments(self, drafter: Path | None = None) -> dict[str, Any]:
        """As vLLM's AsyncEngineArgs takes them, without those of the KV connector."""
        flat = self._flat()
        del flat["kv_connector"]
        given = {name: value for name, value in flat.items() if value is not None}
        return given | ({"speculative_config": self.speculative.arguments(drafter)} if self.speculative else {})
