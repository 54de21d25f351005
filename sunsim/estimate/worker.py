"""What is served on what: a model in one variant, on one card or several that share it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sunsim.errors import InputError
from sunsim.estimate.cards import Card
from sunsim.estimate.shapes import (
    AWQ,
    BF16_BYTES,
    NEEDED,
    embedding_bytes,
    head_dim,
    kv_bytes_per_token,
    linear_elements,
    weight_bytes,
)
from sunsim.latency.document import MOST_BYTES

VARIANTS = ("bf16", "awq", "fp8")
MIXTURE = ("num_experts", "num_local_experts", "n_routed_experts")
"""Keys that a mixture of experts has, under one of these names."""
Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Worker:
    """One engine.

    Attributes:
        gpu: the card's name.
        config: of the model, as Hugging Face has it.
        quantization: of the weights: none, "awq" or "fp8".
        gpus: that share the model (tensor parallel).
        kv_cache_dtype: as vLLM takes it.
        drafts: of a request in a decode step (speculative decoding).
        drafter: whether a layer on the model's states makes them (EAGLE), in bf16, with the head that the model has.
    """

    gpu: str
    card: Card
    config: Config
    quantization: str | None = None
    gpus: int = 1
    kv_cache_dtype: str = "auto"
    drafts: int = 0
    drafter: bool = False

    def differs(self, other: Worker) -> tuple[str, ...]:
        """In what two differ."""
        shapes = [[worker.config.get(key) for key in (*NEEDED, "head_dim")] for worker in (self, other)]
        found = {
            "card": self.gpu != other.gpu,
            "model": shapes[0] != shapes[1],
            "variant": self.quantization != other.quantization,
            "tensor parallel": self.gpus != other.gpus,
        }
        return tuple(name for name, is_other in found.items() if is_other)

    def kind(self, change: str, other: Worker) -> str:
        """A change to the other, by its direction where that matters: "variant bf16 to awq"."""
        return f"{change} {self.variant} to {other.variant}" if change == "variant" else change

    @property
    def variant(self) -> str:
        """Of the weights."""
        return self.quantization or "bf16"

    @property
    def layers(self) -> int:
        return int(self.config["num_hidden_layers"])

    @property
    def weights(self) -> int:
        """Bytes of weights on each GPU."""
        return (self._all_weights + self._drafter_bytes) // self.gpus

    @property
    def streamed(self) -> int:
        """Bytes of weights on each GPU that a step reads, each of them once: all but the rows of the input embedding."""
        tied = self.config.get("tie_word_embeddings")
        all_weights = self._all_weights + self._drafter_bytes
        return (all_weights - (0 if tied else embedding_bytes(self.config))) // self.gpus

    @property
    def drafting(self) -> int:
        """Bytes of weights on each GPU that a step reads again: for each draft the drafter's and the head's."""
        if not self.drafter:
            return 0
        return (self.drafts * (self._drafter_bytes + embedding_bytes(self.config)) - self._drafter_bytes) // self.gpus

    @property
    def kv_bytes(self) -> int:
        """Bytes of a token's keys and values on each GPU, a drafter's too."""
        layers = self.config | {"num_hidden_layers": self.layers + self.drafter}
        return kv_bytes_per_token(layers, self.kv_cache_dtype, self.gpus)

    @property
    def linear(self) -> int:
        """Elements of the layers' matrices on each GPU."""
        return linear_elements(self.config) // self.gpus

    @property
    def model_config(self) -> Config:
        """The model's, with what its variant says of the weights."""
        plain = {key: value for key, value in self.config.items() if key != "quantization_config"}
        return plain | {"quantization_config": AWQ} if self.quantization == "awq" else plain

    @property
    def _drafter_bytes(self) -> int:
        """Of its layer, and of the matrix that takes the model's states and the tokens together."""
        joined = 2 * int(self.config["hidden_size"]) ** 2
        return BF16_BYTES * (linear_elements(self.config) // self.layers + joined) if self.drafter else 0

    @property
    def _all_weights(self) -> int:
        return weight_bytes(self.model_config, self.quantization)


def read_config(path: Path) -> Config:
    """A model's config.json.

    Raises:
        InputError: it is none, or of a model that the roofline here is not true of.
    """
    right = "a model's config.json"
    try:
        size = path.stat().st_size
        config = json.loads(path.read_text(encoding="utf-8")) if size <= MOST_BYTES else None
    except OSError as error:
        message = f"cannot be read ({error.strerror}), must be {right}"
        raise InputError(message, path) from error
    except (ValueError, RecursionError) as error:
        message = f"is not JSON, must be {right}"
        raise InputError(message, path) from error
    if not isinstance(config, dict):
        message = f"must be {right}"
        raise InputError(message, path)
    _refuse_unknown_kinds(config, path)
    for key in NEEDED:
        if key not in config:
            message = f"{key} is missing, must be there as in {right}"
            raise InputError(message, path)
    for key in (*NEEDED, "head_dim", "max_position_embeddings"):
        value = config.get(key)
        if value is not None and not (type(value) is int and 1 <= value <= 10**8):
            message = f"{key} is {value!r:.60}, must be a whole number from 1 to 100,000,000"
            raise InputError(message, path)
    if config["num_attention_heads"] % config["num_key_value_heads"]:
        message = "num_key_value_heads must divide num_attention_heads"
        raise InputError(message, path)
    if not head_dim(config):
        message = "hidden_size is less than num_attention_heads, must be a multiple of it, or head_dim be given"
        raise InputError(message, path)
    return config


def quant_method(config: Config) -> str | None:
    """How a model's file says that its weights are quantized; None if they are not."""
    quantization = config.get("quantization_config")
    if not quantization:
        return None
    return str(quantization.get("quant_method")) if isinstance(quantization, dict) else "an unknown method"


def _refuse_unknown_kinds(config: Config, path: Path) -> None:
    kinds = {str(kind) for kind in config["layer_types"]} if isinstance(config.get("layer_types"), list) else set()
    method = quant_method(config) or "awq"
    wrong = None
    if any(config.get(key) for key in MIXTURE):
        wrong = "is of a mixture of experts"
    elif config.get("kv_lora_rank"):
        wrong = "is of a model with latent attention (MLA)"
    elif kinds - {"full_attention"}:
        wrong = f"mixes kinds of attention ({', '.join(sorted(kinds))})"
    elif config.get("sliding_window") and config.get("use_sliding_window", True):
        wrong = "has a sliding window of attention"
    elif method not in VARIANTS:
        wrong = f"has weights quantized by {method}"
    if wrong:
        message = f"{wrong}, must be a dense decoder with full attention in bf16, awq or fp8: nothing else is estimated"
        raise InputError(message, path)
