"""How many bytes a model's weights and KV take, from its Hugging Face config.json."""

from typing import Any

NEEDED = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
)
"""Keys of a config.json that sizes are computed from."""

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}

BF16_BYTES = 2
FP8_BYTES = 1
SCALE_BYTES = 4

LINEAR_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


MOST_GPUS = 64
"""That share a model."""


def sharing_fault(config: dict[str, Any], gpus: int) -> str | None:
    """Why so many GPUs cannot share a model, as vLLM has it: each takes as many heads, and no KV head is split. None if they can."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    if 1 <= gpus <= MOST_GPUS and not heads % gpus and (not kv_heads % gpus or not gpus % kv_heads):
        return None
    kv = f"its {kv_heads} KV heads, or be a multiple of the latter"
    return f"is {gpus}, must divide the model's {heads} attention heads and {kv}, and be at most {MOST_GPUS}"


def head_dim(config: dict[str, Any]) -> int:
    """Size of one attention head, in elements."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def kv_bytes_per_token(config: dict[str, Any], kv_cache_dtype: str = "auto", tensor_parallel_size: int = 1) -> int:
    """Bytes of keys and values of one token over all layers on each GPU, which has a head at least."""
    layers, heads = int(config["num_hidden_layers"]), int(config["num_key_value_heads"])
    size = FP8_BYTES if kv_cache_dtype.startswith("fp8") else BF16_BYTES
    return 2 * layers * max(1, heads // tensor_parallel_size) * head_dim(config) * size


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


def weight_bytes(config: dict[str, Any], quantization_of_engine: str | None = None) -> int:
    """Bytes of all weights by shape, over all GPUs.

    Linear layers have 4 bit plus a scale and a zero point a group in AWQ, 8 bit plus a scale a layer in FP8, else bf16.
    """
    linear = linear_elements(config)
    quantization = config.get("quantization_config")
    if quantization:
        bits, group = quantization["bits"], quantization["group_size"]
        linear_bytes = linear * bits // 8 + linear // group * BF16_BYTES + linear // group * bits // 8
    elif quantization_of_engine == "fp8":
        scales = config["num_hidden_layers"] * len(LINEAR_MODULES)
        linear_bytes = linear * FP8_BYTES + scales * SCALE_BYTES
    else:
        linear_bytes = linear * BF16_BYTES
    norms = (2 * config["num_hidden_layers"] + 1) * config["hidden_size"] * BF16_BYTES
    heads = 1 if config.get("tie_word_embeddings") else 2
    return int(linear_bytes + norms + heads * embedding_bytes(config))
