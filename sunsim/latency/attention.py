"""Time of decode attention, from the lengths that meet in a batch.

FlashAttention 3 cuts the KV cache of a decode batch into tiles, one a request and KV head, and splits long ones so that
none is much longer than a processor's share of the whole
(https://github.com/Dao-AILab/flash-attention/blob/main/hopper/flash_prepare_scheduler.cu). Each processor takes the next
tile when it has finished one. Lengths decide how even that comes out: the same context takes up to 5 % of a step longer
in a mix than in equal parts, and equal parts take longest where their number is a little over a multiple of what the
processors can do at once.

What one tile costs is not in that source. ``python -m benchmarks.attention`` shows how near this comes to the steps of
the runs for calibration, whose requests are known one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

from sunsim.latency.measured import ProfileData

PROCESSORS = {"H100 80GB HBM3": 132, "H200": 132}
"""Streaming multiprocessors by card."""
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
SAMPLES = 60
BIN_SAMPLES = 12
APART_TOKENS = 128
"""Context a request that the samples' extremes must be apart for lines between them to tell of time."""
ALIKE_FACTORS = (0.25, 1.0, 4.0)
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

    def blocks(self, contexts: Iterable[int]) -> float:
        """Time of one layer's attention, in units of reading one block with all processors busy.

        Args:
            contexts: tokens that each request of the batch attends to, in order of admission.
        """
        # The heads' tiles are equal and follow one another, so a part of the heads on that part of the processors takes
        # just as long.
        parts = math.gcd(self.heads, self.processors)
        heads, processors = self.heads // parts, self.processors // parts
        lengths = [-(-context // BLOCK_TOKENS) for context in contexts]
        share = math.ceil(sum(lengths) * heads * SHARE_MARGIN / processors)
        tiles: list[int] = []
        for length in lengths:
            rest = length
            if length > share:
                splits = min(-(-length // share), MOST_SPLITS)
                part = -(-length // splits)
                rest = max(length - part * (splits - 1), 0)
                tiles += [part] * ((splits - 1) * heads)
            tiles += [rest] * heads
        finished = [0] * processors
        for tile in tiles:
            heapreplace(finished, finished[0] + tile + TILE_BLOCKS)
        total, before = 0.0, 0
        for done, end in enumerate(sorted(finished)):
            total += (end - before) / min(ALONE, processors / (processors - done))
            before = end
        return total


def kernel_of(data: ProfileData) -> AttentionKernel | None:
    """The kernel that a profile's engine ran; None if it is another one than this module knows, or on another card."""
    heads = data.shape.num_key_value_heads
    queries = data.shape.num_attention_heads or 1
    dimensions = data.shape.head_dim or (data.shape.hidden_size or 0) // queries
    processors = next((count for card, count in PROCESSORS.items() if card in data.card), None)
    is_known = data.kernels.attention == "FLASH_ATTN FA3" and dimensions == HEAD_DIMENSIONS
    return AttentionKernel(heads, processors) if is_known and heads and processors else None


def even_contexts(batch: int, context_tokens: float) -> list[int]:
    """Contexts of requests of about one length, spread over a KV block as the profiler spreads them."""
    least = round(context_tokens / batch) - 8
    return [max(1, least + i % 16) for i in range(batch)]


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


@dataclass(frozen=True, slots=True)
class BlocksCurve:
    """Blocks of attention of one batch size over the total context: knots in tokens, ascending."""

    context_tokens: NDArray[np.float64]
    blocks: NDArray[np.float64]


@lru_cache(maxsize=4096)
def mixed_blocks(kernel: AttentionKernel, mix: LengthMix, batch: int) -> BlocksCurve:
    """Expected blocks of a batch of requests from `mix`, by its total context."""
    stride = _stride(batch)
    if batch > EXACT_BATCHES and batch % stride:
        low = batch // stride * stride
        below, above = (mixed_blocks(kernel, mix, size) for size in (low, low + stride))
        if below.blocks.size != above.blocks.size:  # only one of them has batches that differ enough
            return BlocksCurve(below.context_tokens * (batch / low), below.blocks * (batch / low))
        share = (batch - low) / stride
        return BlocksCurve(
            (1 - share) * below.context_tokens + share * above.context_tokens,
            (1 - share) * below.blocks + share * above.blocks,
        )
    contexts = mix.contexts(batch, SAMPLES)
    totals = contexts.sum(axis=1)
    if np.ptp(totals) < APART_TOKENS * batch:
        return _alike_blocks(kernel, contexts)
    blocks = np.array([kernel.blocks(row) for row in contexts.tolist()])
    bins = np.array_split(np.argsort(totals, kind="stable"), SAMPLES // BIN_SAMPLES)
    return BlocksCurve(np.array([totals[b].mean() for b in bins]), np.array([blocks[b].mean() for b in bins]))


def _stride(batch: int) -> int:
    """How far apart the batch sizes lie that are looked at: above 1,024 a 64th to a 128th, so that all of them up to any
    size take time in proportion to that size, not to its square."""
    return max(BATCH_STRIDE, 1 << max((batch - 1).bit_length() - 7, 0))


def _alike_blocks(kernel: AttentionKernel, contexts: NDArray[np.int64]) -> BlocksCurve:
    """Of batches that hardly differ in context, so that no line can be drawn through them: of shorter and longer ones."""
    scaled = [np.maximum(contexts[:BIN_SAMPLES] * factor, 1).astype(np.int64) for factor in ALIKE_FACTORS]
    blocks = [np.mean([kernel.blocks(row) for row in rows.tolist()]) for rows in scaled]
    totals = [rows.sum(axis=1).mean() for rows in scaled]
    known = [i for i, total in enumerate(totals) if not i or total > totals[i - 1]]
    return BlocksCurve(np.array([totals[i] for i in known]), np.array([blocks[i] for i in known]))
