"""The base models of the experiment: Llama's architecture in sizes that one GPU trains in a minute or three."""

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import rms_norm
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from profiler.tuning.experiment.order import SIZES
from profiler.tuning.experiment.tasks import VOCABULARY

PADDED_VOCABULARY = 256


def new_model(name: str, seed: int) -> Any:
    """A base model before training, float32, on the CPU."""
    size = SIZES[name]
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=PADDED_VOCABULARY,
            num_hidden_layers=size.layers,
            hidden_size=size.hidden,
            num_attention_heads=size.heads,
            num_key_value_heads=size.kv_heads,
            intermediate_size=size.intermediate,
            max_position_embeddings=512,
            tie_word_embeddings=False,
            bos_token_id=VOCABULARY.bos,
            eos_token_id=VOCABULARY.eos,
            pad_token_id=VOCABULARY.pad,
        )
    )
    return fused(model)


class FusedNorm(LlamaRMSNorm):  # type: ignore[misc]
    """The norm in one kernel: at these sizes a step's time is that of launches and elementwise work."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[..., width], normed."""
        return rms_norm(hidden, (hidden.shape[-1],), self.weight, self.variance_epsilon)


def fused(model: Any) -> Any:
    """The model with norms as one kernel each."""
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            module.__class__ = FusedNorm
    return model


def save(model: Any, folder: Path) -> None:
    """A checkpoint that transformers and vLLM load, with its tokenizer, bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    VOCABULARY.write_tokenizer(folder)
    model.to(torch.bfloat16).save_pretrained(folder)


def load(folder: Path, device: str, dtype: torch.dtype) -> Any:
    """The checkpoint, frozen."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype)
    return fused(model).to(device).eval().requires_grad_(requires_grad=False)
