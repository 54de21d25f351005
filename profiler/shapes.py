"""Model shapes as data: a Hugging Face config.json a model, and how many bytes its weights and KV take."""

import json
from pathlib import Path
from typing import Any, Literal

Variant = Literal["bf16", "awq"]

MODELS = Path(__file__).parent / "models"

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}

BF16_BYTES = 2

LINEAR_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


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
    config: dict[str, Any] = json.loads(path.read_text())
    return config | {"quantization_config": AWQ} if variant == "awq" else config


def head_dim(config: dict[str, Any]) -> int:
    """Size of one attention head, in elements."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def kv_bytes_per_token(config: dict[str, Any]) -> int:
    """Bytes of keys and values of one token over all layers, in bf16."""
    layers, heads = int(config["num_hidden_layers"]), int(config["num_key_value_heads"])
    return 2 * layers * heads * head_dim(config) * BF16_BYTES


def linear_modules(config: dict[str, Any]) -> dict[str, tuple[str, int, int]]:
    """Block, input and output size of each linear layer in one transformer layer, by its name in a checkpoint."""
    hidden, intermediate, size = config["hidden_size"], config["intermediate_size"], head_dim(config)
    q, kv = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    sizes = (
        ("self_attn", hidden, q),
        ("self_attn", hidden, kv),
        ("self_attn", hidden, kv),
        ("self_attn", q, hidden),
        ("mlp", hidden, intermediate),
        ("mlp", hidden, intermediate),
        ("mlp", intermediate, hidden),
    )
    return dict(zip(LINEAR_MODULES, sizes, strict=True))


def linear_elements(config: dict[str, Any]) -> int:
    """Elements of the linear layers that quantization reaches, over all layers."""
    elements = sum(inputs * outputs for _, inputs, outputs in linear_modules(config).values())
    return int(config["num_hidden_layers"] * elements)


def embedding_bytes(config: dict[str, Any]) -> int:
    """Bytes of the input embedding, of which a step reads only its own tokens' rows."""
    return int(config["vocab_size"] * config["hidden_size"] * BF16_BYTES)


def weight_bytes(config: dict[str, Any]) -> int:
    """Bytes of all weights by shape: 4 bit plus a scale and a zero point a group where quantized, else bf16."""
    linear = linear_elements(config)
    quantization = config.get("quantization_config")
    if quantization:
        bits, group = quantization["bits"], quantization["group_size"]
        linear_bytes = linear * bits // 8 + linear // group * BF16_BYTES + linear // group * bits // 8
    else:
        linear_bytes = linear * BF16_BYTES
    norms = (2 * config["num_hidden_layers"] + 1) * config["hidden_size"] * BF16_BYTES
    heads = 1 if config.get("tie_word_embeddings") else 2
    return int(linear_bytes + norms + heads * embedding_bytes(config))


def streamed_weight_bytes(config: dict[str, Any], total: int | None = None) -> int:
    """Bytes of weights that each step reads: all but the input embedding, unless the output head shares it."""
    total = weight_bytes(config) if total is None else total
    return total if config.get("tie_word_embeddings") else total - embedding_bytes(config)
