"""Models as data: a Hugging Face config.json a model. `sunsim.estimate.shapes` says what its weights and KV take."""

import json
from pathlib import Path
from typing import Any, Literal

from sunsim.estimate.shapes import AWQ, NEEDED, sharing_fault

Variant = Literal["bf16", "awq", "fp8"]

QUANTIZATION: dict[Variant, str] = {"fp8": "fp8"}
"""What vLLM is asked to make of bf16 weights; AWQ is what the model's config.json says that the weights are."""

MODELS = Path(__file__).parent / "models"


def model_names() -> list[str]:
    """Models that can be measured by name."""
    return sorted(path.stem for path in MODELS.glob("*.json"))


def load_config(model: str, variant: Variant) -> dict[str, Any]:
    """config.json of a model in one of its variants; `model` is a name under models/ or a path to a config.json."""
    named = MODELS / f"{model}.json"
    path = named if named.exists() else Path(model)
    if not path.is_file():
        msg = f"no model named {model!r}; known: {', '.join(model_names())}, or give the path of a config.json"
        raise ValueError(msg)
    try:
        config: Any = json.loads(path.read_text())
    except ValueError as error:
        msg = f"{path}: not JSON ({error}), must be a model's config.json"
        raise ValueError(msg) from error
    missing = [key for key in NEEDED if key not in config] if isinstance(config, dict) else NEEDED
    if missing:
        msg = f"{path}: {missing[0]} is missing, must be there as in a model's config.json"
        raise ValueError(msg)
    checked: dict[str, Any] = config
    return checked | {"quantization_config": AWQ} if variant == "awq" else checked


def check(config: dict[str, Any], *, max_model_len: int, tensor_parallel_size: int) -> None:
    """Raises ValueError for what an engine would not do with the model."""
    longest = config.get("max_position_embeddings")
    if longest and max_model_len > longest:
        msg = f"--max-model-len: is {max_model_len}, must be at most the model's {longest}"
        raise ValueError(msg)
    if fault := sharing_fault(config, tensor_parallel_size):
        msg = f"--tensor-parallel-size: {fault}"
        raise ValueError(msg)
