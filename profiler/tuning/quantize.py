"""Decoders as quantization leaves them: weights rounded to what the format can store, in the compute dtype again.

A step with such a decoder is not faster; its outputs are those of the stored weights. Embeddings, head and norms stay
as they are, as in published quantized checkpoints.
"""

from typing import Any

import torch
from torch import nn

from profiler.tuning.choices import DecoderQuant

GROUP = 128
_LEVELS = 15
_FP8 = torch.float8_e4m3fn


def quantized(model: Any, how: DecoderQuant) -> Any:
    """The model, the weights of its linear layers replaced by new tensors; other weights stay the same tensors.

    Raises:
        ValueError: a layer that the format has no room for.
    """
    for parent, name, layer in inner_linears(model):
        try:
            rounded = int4_rounded(layer.weight) if how == "int4-g128" else fp8_rounded(layer.weight)
        except ValueError as error:
            msg = f"{type(parent).__name__}.{name}: {error}"
            raise ValueError(msg) from error
        layer.weight = nn.Parameter(rounded, requires_grad=False)
    return model


def int4_rounded(weight: torch.Tensor) -> torch.Tensor:
    """[out, in] as AWQ's format keeps it: 4 bits, a scale (float16) and a zero point (4 bits) each `GROUP` inputs; as vLLM's
    kernels multiply with it: the scale is in the compute dtype there.

    Rounded to nearest, the range of a group taken from its smallest and largest weight. AWQ's search for scales of
    channels comes before this step and is not made here: a real AWQ checkpoint is a little better.
    """
    rows, width = weight.shape
    if width % GROUP:
        msg = f"{width} inputs are not a multiple of {GROUP}, the group that shares a scale in int4-g{GROUP}"
        raise ValueError(msg)
    grouped = weight.detach().float().reshape(rows, width // GROUP, GROUP)
    # A zero point is a level: the range has 0 in it.
    low, high = grouped.amin(-1, keepdim=True).clamp(max=0), grouped.amax(-1, keepdim=True).clamp(min=0)
    stored = ((high - low).clamp(min=1e-5) / _LEVELS).half()
    scale = stored.float()
    zero = (-torch.round(low / scale)).clamp(0, _LEVELS)
    level = (torch.round(grouped / scale) + zero).clamp(0, _LEVELS)
    return ((level - zero).to(weight.dtype) * stored.to(weight.dtype)).reshape(rows, width)


def fp8_rounded(weight: torch.Tensor) -> torch.Tensor:
    """[out, in] as float8 e4m3 with a float32 scale for each output."""
    exact = weight.detach().float()
    scale = (exact.abs().amax(-1, keepdim=True) / torch.finfo(_FP8).max).clamp(min=1e-12)
    return ((exact / scale).to(_FP8).float() * scale).to(weight.dtype)


def inner_linears(model: Any) -> list[tuple[Any, str, nn.Linear]]:
    """(module that has it, its name there, layer) of every linear layer but the output head.

    Raises ValueError if there are none, as in models whose layers are of their own kind.
    """
    head = model.get_output_embeddings()
    found = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.Linear) and layer is not head
    ]
    if not found:
        msg = f"{model.config.model_type}: has no linear layers of torch's own kind, which LoRA and quantization need"
        raise ValueError(msg)
    return found
