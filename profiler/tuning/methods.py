"""What is trained, and which modules serve a request.

- `full`: all weights; the tuned module prefills and decodes (an isolated pool a task).
- `prefill-only`: all weights of a copy that prefills, but embeddings and output head; the base model, frozen, decodes
  for every task (SUN). The decoder may be quantized: then the copy learns to be read by it (QSUN).
- `lora`: low-rank adapters of all linear layers; the adapted model prefills and decodes.
"""

import copy
import math
from typing import Any

import torch
from torch import nn

from profiler.tuning.choices import Boundary, DecoderQuant, Method
from profiler.tuning.quantize import inner_linears, quantized
from profiler.tuning.two_pathways import TwoPathways


def pathways_of(
    model: Any,
    method: Method,
    *,
    boundary: Boundary = "decode",
    decoder_quant: DecoderQuant | None = None,
    lora_rank: int = 16,
    lora_alpha: float = 32.0,
    seed: int = 0,
) -> TwoPathways:
    """The modules to train `method` with; what is trained has `requires_grad`, and `trained_parameters` lists it.

    The model's own weights may become part of them, and of its `decoder_quant` the model's are replaced: the
    model is not to be used for something else afterwards. The frozen and the trained copy share embeddings and head.

    Raises:
        ValueError: a quantized decoder with a method that has no decoder of its own; layers that cannot be used.
    """
    if decoder_quant is not None and method != "prefill-only":
        msg = f"method {method} decodes with what it trains, so its decoder cannot be quantized, must be prefill-only"
        raise ValueError(msg)
    # Nothing is drawn at random while training: what is trained is what will be served.
    model.eval()
    if method == "full":
        model.requires_grad_(requires_grad=True)
        return TwoPathways(model, model, boundary)
    model.requires_grad_(requires_grad=False)
    if method == "lora":
        add_lora(model, rank=lora_rank, alpha=lora_alpha, seed=seed)
        return TwoPathways(model, model, boundary)
    prefill = trainable_copy(model)
    decode = model if decoder_quant is None else quantized(model, decoder_quant)
    return TwoPathways(prefill, decode, boundary)


def trained_parameters(pathways: TwoPathways) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by their names in the prefill module."""
    return {name: weight for name, weight in pathways.prefill.named_parameters() if weight.requires_grad}


def trainable_copy(model: Any) -> Any:
    """A copy of all weights but embeddings and head, which stay the model's own and frozen; the copy's are trained."""
    ends = [end for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None]
    shared = {id(weight): weight for end in ends for weight in end.parameters()}
    made = copy.deepcopy(model, dict(shared))
    for weight in made.parameters():
        weight.requires_grad_(id(weight) not in shared)
    return made


class LoraLinear(nn.Module):  # type: ignore[misc]
    """A frozen linear layer plus the product of two small ones: x W' + (x A' B') alpha / rank, as in PEFT."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        first = torch.empty(rank, base.in_features)
        # PEFT's start: A at random, B zero, so that the adapted layer begins as the base layer.
        nn.init.kaiming_uniform_(first, a=math.sqrt(5), generator=generator)
        self.lora_A = nn.Parameter(first.to(base.weight))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., in_features] to [..., out_features]."""
        small = nn.functional.linear(nn.functional.linear(inputs, self.lora_A), self.lora_B)
        return self.base(inputs) + small * self.scale

    def merged(self) -> nn.Linear:
        """The base layer with the adapter in its weights, summed in float32 and rounded once."""
        with torch.no_grad():
            change = self.lora_B.float() @ self.lora_A.float() * self.scale
            self.base.weight.copy_(self.base.weight.float() + change)
        return self.base


def add_lora(model: Any, *, rank: int, alpha: float, seed: int) -> None:
    """Gives every linear layer but the head an adapter that is trained."""
    generator = torch.Generator().manual_seed(seed)
    for parent, name, layer in inner_linears(model):
        setattr(parent, name, LoraLinear(layer, rank, alpha, generator))


def merge_lora(model: Any) -> None:
    """Puts all adapters into the weights they adapt."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LoraLinear):
                setattr(parent, name, layer.merged())
