"""Time of decode attention, from the lengths that meet in a batch.

FlashAttention 3 cuts the KV cache of a decode batch into tiles, one a request and KV head, and splits long ones so that
none is much longer than a processor's share of the whole
(https://github.com/Dao-AILab/flash-attention/blob/main/hopper/flash_prepare_scheduler.cu). Each processor takes the next
tile when it has finished one. Lengths decide how even that comes out: the same context takes up to 5 % of a step longer
in a mix than in equal parts, and equal parts take longest where their number is a little over a multiple of what the
processors can do at once. What one tile costs is not in that source.

``python -m benchmarks.step_models`` shows what this account is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.latency.measured import ProfileData

KERNEL = "FLASH_ATTN FA3"
"""The one that this module knows, as the engine's log names it."""
HEAD_DIMENSIONS = 128
BLOCK_TOKENS = 128
"""KV tokens of one block of a tile, for heads of so many dimensions in paged memory."""
SHARE_MARGIN = 1.1
MOST_SPLITS = 32
TILE_BLOCKS = 1
"""What starting and ending a tile costs, in blocks."""
ALONE = 3.5
"""How much faster than its share of a full GPU's memory bandwidth one processor reads when most others are done."""

MOST_REQUESTS = 4000
FACTORS = (0.5, 1.0, 2.0)
"""Batches of a mix are looked at as they are and with all contexts shorter and longer, so that the line through them
holds around the mix's mean context."""
EXACT_BATCHES = 64
BATCH_STRIDE = 8
SEED = 20_261_125


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """How a GPU shares decode attention out.

    Attributes:
        heads: KV heads of the model.
        processors: streaming multiprocessors of the card.
    """

    heads: int
    processors: int

    def blocks(self, contexts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Time of one layer's attention, in units of reading one block with all processors busy, float64[n].

        Args:
            contexts: tokens that each request of a batch attends to, in order of admission, int64[n, batch].
        """
        # The heads' tiles are equal and follow one another, so a part of the heads on that part of the processors takes
        # just as long.
        parts = math.gcd(self.heads, self.processors)
        heads, processors = self.heads // parts, self.processors // parts
        lengths = -(-contexts // BLOCK_TOKENS)
        share = np.ceil(lengths.sum(axis=1, keepdims=True) * heads * SHARE_MARGIN / processors).astype(np.int64)
        splits = np.clip(-(-lengths // share), 1, MOST_SPLITS)
        part = -(-lengths // splits)
        rest = np.maximum(lengths - part * (splits - 1), 0)
        finished = np.zeros((len(contexts), processors), dtype=np.int64)
        every = np.arange(len(contexts))
        for i in range(contexts.shape[1]):
            for split in range(1, int(splits[:, i].max())):
                cost = np.where(split < splits[:, i], part[:, i] + TILE_BLOCKS, 0)
                for _ in range(heads):
                    finished[every, finished.argmin(axis=1)] += cost
            for _ in range(heads):
                finished[every, finished.argmin(axis=1)] += rest[:, i] + TILE_BLOCKS
        ends = np.sort(finished, axis=1)
        left = processors - np.arange(processors)  # still at work before each end
        return np.diff(ends, axis=1, prepend=0) @ (1 / np.minimum(ALONE, processors / left))


def kernel_of(data: ProfileData) -> AttentionKernel | None:
    """The kernel that a profile's engine ran; None if this module does not know it, or not the card's processors."""
    heads = data.shape.num_key_value_heads
    queries = data.shape.num_attention_heads or 1
    dimensions = data.shape.head_dim or (data.shape.hidden_size or 0) // queries
    is_known = data.kernels.attention == KERNEL and dimensions == HEAD_DIMENSIONS
    return AttentionKernel(heads, data.processors) if is_known and heads and data.processors else None


def even_contexts(batch: int, context_tokens: float) -> NDArray[np.int64]:
    """Contexts of requests of about one length, spread over a KV block as the profiler spreads them, int64[batch]."""
    least = round(context_tokens / batch) - 8
    return np.maximum(1, least + np.arange(batch) % 16)


@dataclass(frozen=True, slots=True)
class LengthMix:
    """Requests whose lengths meet in batches.

    Attributes:
        prompt_tokens, output_tokens: of requests as they arrive, equally likely.
    """

    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]

    @classmethod
    def of(cls, prompt_tokens: NDArray[np.integer], output_tokens: NDArray[np.integer]) -> LengthMix:
        """From requests, int[n] each; of very many, some evenly spaced ones."""
        every = -(-len(prompt_tokens) // MOST_REQUESTS)
        return cls(tuple(prompt_tokens[::every].tolist()), tuple(output_tokens[::every].tolist()))

    def contexts(self, batch: int, samples: int) -> NDArray[np.int64]:
        """Contexts in tokens of random batches in full swing, int64[samples, batch]; the same for the same mix.

        A request is met the more often the longer its output, and anywhere in it. They stand in order of admission, so
        those that have emitted most come first.
        """
        draws = np.random.default_rng((SEED, batch))
        output = np.array(self.output_tokens)
        met = draws.choice(output.size, (samples, batch), p=output / output.sum())
        emitted = draws.integers(0, output[met])
        oldest_first = np.argsort(-emitted, axis=1, kind="stable")
        contexts: NDArray[np.int64] = np.take_along_axis(
            np.array(self.prompt_tokens)[met] + emitted, oldest_first, axis=1
        )
        return contexts


class BlocksLine(NamedTuple):
    """Expected blocks of a batch from a mix: at no context, and for each token of its total context."""

    at_none: float
    a_token: float


@lru_cache(maxsize=16384)
def mixed_blocks(kernel: AttentionKernel, mixes: tuple[LengthMix, ...], batch: int, samples: int) -> list[BlocksLine]:
    """A line a mix, with the least squared relative errors over random batches.

    Args:
        kernel: of attention.
        mixes: that batches come from; several at once take less time.
        batch: requests.
        samples: batches of a mix to look at, at each of the `FACTORS`.
    """
    stride = _stride(batch)
    if batch % stride:
        low = batch // stride * stride
        share = (batch - low) / stride
        ends = (mixed_blocks(kernel, mixes, size, samples) for size in (low, low + stride))
        return [
            BlocksLine(*((1 - share) * one + share * other for one, other in zip(below, above, strict=True)))
            for below, above in zip(*ends, strict=True)
        ]
    drawn = np.concatenate([mix.contexts(batch, samples) for mix in mixes])
    contexts = np.stack([np.maximum(drawn * factor, 1).astype(np.int64) for factor in FACTORS], axis=1)
    blocks = kernel.blocks(contexts.reshape(-1, batch)).reshape(len(mixes), -1)
    totals = contexts.sum(axis=2).reshape(len(mixes), -1)
    return [_line(total, found) for total, found in zip(totals, blocks, strict=True)]


def _line(totals: NDArray[np.int64], blocks: NDArray[np.float64]) -> BlocksLine:
    rows = np.column_stack([1 / blocks, totals / blocks])
    at_none, a_token = np.linalg.lstsq(rows, np.ones(len(blocks)), rcond=None)[0].tolist()
    return BlocksLine(at_none, max(0.0, a_token))


def _stride(batch: int) -> int:
    """How far apart the batch sizes lie that are looked at.

    All small ones are. Above 1,024 it is a 64th to a 128th, so that all of them up to any size take time in proportion
    to that size, not to its square.
    """
    if batch <= EXACT_BATCHES:
        return 1
    return max(BATCH_STRIDE, 1 << max((batch - 1).bit_length() - 7, 0))
