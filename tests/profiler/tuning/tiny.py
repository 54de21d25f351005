"""Models with random weights that a CPU runs in milliseconds."""

import random
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from profiler.tuning.data import Example

# More threads than one wait for each other at this size.
torch.set_num_threads(1)

VOCABULARY = 61
EOS = 1


def tiny(family: str = "llama", dtype: Any = torch.float32, seed: int = 0, **more: Any) -> Any:
    """Two layers, grouped queries; its weights are larger than at the start of a training, so that logits differ."""
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "initializer_range": 0.15,
        "eos_token_id": EOS,
        "bos_token_id": None,
        "pad_token_id": None,
        **more,
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**shape)) if family == "llama" else Qwen3ForCausalLM(Qwen3Config(**shape))
    return model.to(dtype).eval()


def changed(model: Any, amount: float = 0.05) -> Any:
    """Another module of the same architecture, as training would have left it."""
    torch.manual_seed(99)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=amount)
    return model


def sorting(count: int, seed: int = 0, longest: int = 9) -> list[Example]:
    """Prompts of 2 tokens and more; the response is the prompt's tokens in order, at most four, and the end."""
    draws = random.Random(seed)
    examples = []
    for _ in range(count):
        prompt = [draws.randrange(5, VOCABULARY) for _ in range(draws.randint(2, longest))]
        examples.append(Example(tuple(prompt), (*sorted(prompt)[:4], EOS)))
    return examples
