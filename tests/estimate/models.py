"""Models and estimates, for tests."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from sunsim.estimate.cards import cards
from sunsim.estimate.source import Source
from sunsim.estimate.worker import Worker
from sunsim.latency.profile import load_named

LLAMA = "h100-80gb/llama-3.1-8b-bf16"
LLAMA_70B: dict[str, Any] = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
}


@cache
def source(name: str = LLAMA) -> Source:
    return Source.of(load_named(name))


def worker(
    gpu: str = "h100-80gb", config: dict[str, Any] = LLAMA_70B, variant: str | None = None, gpus: int = 1
) -> Worker:
    return Worker(gpu, cards()[gpu], config, variant, gpus)


def write_config(folder: Path, **changes: Any) -> Path:
    """The 70B model's config.json with changes; a key of None is left out."""
    config = {key: value for key, value in (LLAMA_70B | changes).items() if value is not None}
    path = folder / "llama-70b.json"
    path.write_text(json.dumps(config))
    return path
