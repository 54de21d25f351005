"""The least that a step takes: what it reads, computes and exchanges, over what the card can do of each.

The roofline model (Williams, Waterman and Patterson 2009, https://doi.org/10.1145/1498765.1498785): matrix products take
what is longer, reading the weights or computing. Reading KV, attention's own products and all-reduces come on top.
"""

from __future__ import annotations

from dataclasses import dataclass

from sunsim.estimate.shapes import head_dim
from sunsim.estimate.worker import Worker

REDUCES = 2
"""All-reduces a layer: after attention and after the MLP."""
REDUCE_MS = {"NVLink": 0.01, "Infinity Fabric": 0.015, "PCIe": 0.03}
"""Assumed: what an all-reduce of hardly any data takes, by link. No profile here has measured one."""
ACTIVATION_BYTES = 2


@dataclass(frozen=True, slots=True)
class Reached:
    """What a measured worker reaches of its card's peaks, shares: of memory bandwidth, and of matrix products."""

    bandwidth: float
    products: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """Terms of a step, in milliseconds.

    Attributes:
        weights_ms: reading the weights once.
        token_ms: matrix products, a token.
        kv_token_ms: reading KV, a token of context.
        pair_ms: attention's products, a (query, key) pair of a prompt.
        reduce_ms, reduce_token_ms: all-reduces over the link, a step and a token.
        fixed_ms: what a decode step of a few requests takes beyond these, as measured: kernels' starts, sampling.
        draft_ms: reading weights again to make drafts.
        width: tokens that a decode computes.
        launch_ms: the host's time to launch a step without a captured graph; the GPU may be done sooner.
        largest_graph: the most tokens that a captured graph is for.
    """

    weights_ms: float
    token_ms: float
    kv_token_ms: float
    pair_ms: float
    reduce_ms: float
    reduce_token_ms: float
    fixed_ms: float = 0.0
    draft_ms: float = 0.0
    width: int = 1
    launch_ms: float = 0.0
    largest_graph: int = 0

    @classmethod
    def of(cls, worker: Worker, reached: Reached) -> Roofline:
        """That of a worker; nothing fixed, nothing launched."""
        card, config = worker.card, worker.config
        bytes_per_ms = card.memory_gb_s * 1e6 * reached.bandwidth
        flops_per_ms = card.tflops(fp8=worker.quantization == "fp8") * 1e9 * reached.products
        bf16_flops_per_ms = card.bf16_tflops * 1e9 * reached.products
        queries = config["num_attention_heads"] * head_dim(config) * worker.layers / worker.gpus
        shared = worker.gpus > 1
        reduces = REDUCES * worker.layers if shared else 0
        # A ring moves 2 (n - 1) / n of the data through each card, half of the link's figure in each direction.
        moved = config["hidden_size"] * ACTIVATION_BYTES * 2 * (worker.gpus - 1) / worker.gpus
        return cls(
            weights_ms=worker.streamed / bytes_per_ms,
            token_ms=2 * worker.linear / flops_per_ms,
            kv_token_ms=worker.kv_bytes / bytes_per_ms,
            pair_ms=4 * queries / bf16_flops_per_ms,
            reduce_ms=reduces * REDUCE_MS[card.link],
            reduce_token_ms=reduces * moved / (card.link_gb_s / 2 * 1e6),
            draft_ms=worker.drafting / bytes_per_ms,
            width=1 + worker.drafts,
        )

    def decode_ms(self, batch: float, context_tokens: float) -> float:
        """A step of so many decodes whose contexts add up to so many tokens."""
        return self._products_ms(batch * self.width) + self.kv_token_ms * context_tokens

    def chunked_ms(self, tokens: float, pairs: float, context_tokens: float = 0.0) -> float:
        """A step with prompts: tokens that it computes and pairs of all, and the context of the decodes beside them."""
        gpu_ms = self._products_ms(tokens) + self.pair_ms * pairs + self.kv_token_ms * context_tokens
        return gpu_ms if tokens <= self.largest_graph else max(gpu_ms, self.launch_ms)

    def _products_ms(self, tokens: float) -> float:
        reduce_ms = self.reduce_ms + self.reduce_token_ms * tokens
        return self.fixed_ms + max(self.weights_ms, self.token_ms * tokens) + self.draft_ms + reduce_ms
