"""The forward of a request that is prefilled by one module and decoded by another, exact and with gradients.

Prompt positions run through the prefill module. Response positions run through the decode module, whose attention
reads, in every layer, the prompt's keys and values as the prefill module made them: they are handed over as the KV
cache is in serving, but with their gradients. So a loss on the response reaches the prefill module through them.

The boundary is the prompt's last token, which predicts the response's first:

- `decode`: the decode module computes it, as vLLM's disaggregated decode workers do (NixlConnector: the decode worker
  gets the KV of all tokens before it). The prefill module's own outputs are never used, only its keys and values.
- `prefill`: the prefill module computes it and predicts the first token, as in DistServe.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from profiler.tuning.choices import Boundary
from profiler.tuning.data import Example

# What two modules must share for the one to read the other's keys and values.
_SHAPE = ("model_type", "num_hidden_layers", "num_key_value_heads", "head_dim", "vocab_size", "rope_parameters")

# The label of positions that are padding, as torch's cross-entropy has it.
NO_LABEL = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests side by side, padded on the right.

    prompt: [requests, longest prompt], token ids. prompt_tokens: [requests].
    response: [requests, longest response], token ids. labels: the same with NO_LABEL where there is no token.
    even: all prompts are of one length, so that nothing has to be masked.
    """

    prompt: torch.Tensor
    prompt_tokens: torch.Tensor
    response: torch.Tensor
    labels: torch.Tensor
    even: bool

    @classmethod
    def of(cls, examples: Sequence[Example], device: Any = "cpu") -> "Batch":
        """The examples, in their order."""
        prompts, responses = [e.prompt for e in examples], [e.response for e in examples]
        tokens = [len(prompt) for prompt in prompts]
        return cls(
            prompt=_padded(prompts, 0).to(device),
            prompt_tokens=torch.tensor(tokens, device=device),
            response=_padded(responses, 0).to(device),
            labels=_padded(responses, NO_LABEL).to(device),
            even=min(tokens) == max(tokens),
        )


def _padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])


@dataclass(frozen=True, slots=True)
class TwoPathways:
    """A prefill module and a decode module of one architecture (Hugging Face causal LMs); they may be one and the same.

    Raises ValueError for modules of different shapes, and for a model with layers that are not full attention: they
    remember a prompt in another way than by the keys and values of all its tokens.
    """

    prefill: Any
    decode: Any
    boundary: Boundary = "decode"

    def __post_init__(self) -> None:
        for name in _SHAPE:
            shapes = [getattr(module.config, name, None) for module in (self.prefill, self.decode)]
            if shapes[0] != shapes[1]:
                msg = f"the prefill module has {name} {shapes[0]} and the decode module {shapes[1]}, must be the same"
                raise ValueError(msg)
        for module in (self.prefill, self.decode):
            kinds = {type(layer) for layer in DynamicCache(config=module.config).layers}
            if kinds != {DynamicLayer}:
                msg = f"{module.config.model_type}: not all of its layers are full attention, which tuning needs"
                raise ValueError(msg)

    @property
    def device(self) -> Any:
        """Where both modules are."""
        return self.decode.device

    def logits(self, batch: Batch) -> torch.Tensor:
        """[requests, longest response, vocabulary]: at i, what predicts token i of the response, all before it given."""
        started = self.start(batch.prompt, batch.prompt_tokens, even=batch.even)
        if self.boundary == "decode":
            last = batch.prompt.gather(1, batch.prompt_tokens[:, None] - 1)
            return started.step(torch.cat([last, batch.response[:, :-1]], 1))
        assert started.first_logits is not None
        if batch.response.shape[1] == 1:
            return started.first_logits
        return torch.cat([started.first_logits, started.step(batch.response[:, :-1])], 1)

    def loss_sum(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy of the responses' tokens, summed; float32."""
        logits = self.logits(batch)
        return cross_entropy(
            logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=NO_LABEL, reduction="sum"
        )

    def start(self, prompt: torch.Tensor, prompt_tokens: torch.Tensor, *, even: bool) -> "Started":
        """Prefills: all tokens of the prompts, or all but the last, as the boundary says.

        Args:
            prompt: [requests, longest], padded on the right.
            prompt_tokens: [requests].
            even: all prompts are of one length.
        """
        cache = DynamicCache(config=self.prefill.config)
        if self.boundary == "decode":
            # Padding comes after all of a prompt, so that no token of it sees padding.
            if prompt.shape[1] > 1:
                _forward(self.prefill, prompt[:, :-1], cache, logits_to_keep=1)
            return Started(self.decode, cache, prompt_tokens - 1, prompt.shape[1] - 1, even, None)
        last, place = torch.unique(prompt_tokens - 1, return_inverse=True)
        kept = _forward(self.prefill, prompt, cache, logits_to_keep=last)
        first = kept[torch.arange(len(prompt), device=prompt.device), place][:, None]
        return Started(self.decode, cache, prompt_tokens, prompt.shape[1], even, first)


@dataclass(slots=True)
class Started:
    """Requests whose prompts are prefilled.

    cached_tokens: [requests], of the prompt. width: places of the cache that hold prompts and their padding.
    first_logits: [requests, 1, vocabulary], what predicts the first tokens if the prefill module does so.
    """

    decode: Any
    cache: DynamicCache
    cached_tokens: torch.Tensor
    width: int
    even: bool
    first_logits: torch.Tensor | None
    stepped: int = 0

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """The logits of the next [requests, n] tokens, [requests, n, vocabulary]; the cache then has them too."""
        count = tokens.shape[1]
        places = torch.arange(self.stepped, self.stepped + count, device=tokens.device)
        self.stepped += count
        mask = None
        if not self.even:
            width = torch.arange(self.width + self.stepped, device=tokens.device)
            mask = ((width < self.cached_tokens[:, None]) | (width >= self.width)).long()
        return _forward(
            self.decode,
            tokens,
            self.cache,
            position_ids=self.cached_tokens[:, None] + places,
            attention_mask=mask,
        )


def _forward(module: Any, tokens: torch.Tensor, cache: DynamicCache, **more: Any) -> torch.Tensor:
    given = {"input_ids": tokens, "use_cache": True, _cache_argument(module.forward.__func__): cache}
    logits: torch.Tensor = module(**given, **more).logits
    return logits


@lru_cache
def _cache_argument(forward: Callable[..., Any]) -> str:
    """Newer versions of transformers 5 call `past_key_values` by another name."""
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"
