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
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

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

MOST_REQUESTS = 4000
FACTORS = (0.5, 1.0, 2.0)
"""Batches of a mix are looked at as they are and with all contexts shorter and longer, so that the line through them
holds around the mix's mean context."""
SEED = 20_261_125

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """How a GPU shares decode attention out.

    Attributes:
        heads: KV heads of the model on one GPU.
        processors: streaming multiprocessors of the card.
    """

    heads: int
    processors: int

    def spans(self, contexts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How long so many processors of those that share the work are busy: all first, one last; int64[n, processors].

        In units of reading one block. Which processors share the work: the heads' tiles are equal and follow one
        another, so a part of the heads on that part of the processors takes just as long.

        Args:
            contexts: tokens that each request of a batch attends to, in order of admission, int64[n, batch].
        """
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
        ends: NDArray[np.int64] = np.sort(finished, axis=1)
        ends[:, 1:] -= ends[:, :-1].copy()
        return ends


def blocks(spans: NDArray[np.int64], alone: float) -> Floats:
    """Time of one layer's attention, in units of reading one block with all processors busy, float64[...].

    Args:
        spans: of a kernel, int64[..., processors].
        alone: how much faster than its share of a full GPU's memory bandwidth one processor reads when most others are
            done.
    """
    processors = spans.shape[-1]
    left = processors - np.arange(processors)
    found: Floats = spans @ (1 / np.minimum(alone, processors / left))
    return found


def kernel_of(data: ProfileData) -> AttentionKernel | None:
    """The kernel that a profile's engine ran; None if this module does not know it, or not the card's processors."""
    heads = data.shape.num_key_value_heads
    queries = data.shape.num_attention_heads or 1
    dimensions = data.shape.head_dim or (data.shape.hidden_size or 0) // queries
    is_known = data.kernels.attention == KERNEL and dimensions == HEAD_DIMENSIONS
    if not (is_known and heads and data.processors):
        return None
    return AttentionKernel(max(1, heads // data.engine_args.tensor_parallel_size), data.processors)


def even_contexts(batch: int, context_tokens: float) -> NDArray[np.int64]:
    """Contexts of requests of about one length, spread over a KV block as the profiler spreads them, int64[batch]."""
    least = round(context_tokens / batch) - 8
    return np.maximum(1, least + np.arange(batch) % 16)


@lru_cache(maxsize=4096)  # the same for every mix that a profile is used with
def even_spans(kernel: AttentionKernel, batch: int, context_tokens: tuple[float, ...]) -> NDArray[np.int64]:
    """Spans of batches of `even_contexts`, one for each total, int64[n, processors]."""
    spans = kernel.spans(np.stack([even_contexts(batch, tokens) for tokens in context_tokens]))
    spans.flags.writeable = False
    return spans


@dataclass(frozen=True, slots=True)
class LengthMix:
    """Requests whose lengths meet in batches.

    Attributes:
        prompt_tokens, output_tokens: of requests as they arrive, equally likely.
    """

    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    _hash: int = field(init=False, repr=False, compare=False)  # of thousands of lengths, asked for again and again

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.prompt_tokens, self.output_tokens)))

    def __hash__(self) -> int:
        return self._hash

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


class Grid(Enum):
    """At which batch sizes a mix is looked at; in between it is interpolated."""

    FINE = (64, 8)
    COARSE = (16, 16)

    def step(self, batch: int) -> int:
        """How far apart the sizes lie there.

        All small ones are looked at. Above 1,024 it is at least a 64th to a 128th, so that all sizes up to any take time
        in proportion to that size, not to its square.
        """
        exact, stride = self.value
        if batch <= exact:
            return 1
        return 4 if batch <= 4 * exact and stride > 8 else max(stride, 1 << max((batch - 1).bit_length() - 7, 0))


@lru_cache(maxsize=16384)
def _looked_at(
    kernel: AttentionKernel, mixes: tuple[LengthMix, ...], batch: int, samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Total contexts of random batches, int64[mixes, n], and their spans, int64[mixes, n, processors]."""
    drawn = np.concatenate([mix.contexts(batch, samples) for mix in mixes])
    contexts = np.stack([np.maximum(drawn * factor, 1).astype(np.int64) for factor in FACTORS], axis=1)
    spans = kernel.spans(contexts.reshape(-1, batch))
    return contexts.sum(axis=2).reshape(len(mixes), -1), spans.reshape(len(mixes), -1, spans.shape[-1])


@lru_cache(maxsize=16384)
def mixed_blocks(
    kernel: AttentionKernel, mixes: tuple[LengthMix, ...], batch: int, alone: float, samples: int, grid: Grid
) -> Floats:
    """Expected blocks of a batch of each mix: at no context, and for each token of its total context; float64[mixes, 2].

    Lines with the least squared relative errors over random batches.

    Args:
        kernel: of attention.
        mixes: that batches come from; several at once take less time.
        batch: requests.
        alone: as `blocks` takes it.
        samples: batches of a mix to look at, at each of the `FACTORS`.
        grid: of batch sizes.
    """
    step = grid.step(batch)
    if batch % step:
        low = batch // step * step
        share = (batch - low) / step
        below, above = (mixed_blocks(kernel, mixes, size, alone, samples, grid) for size in (low, low + step))
        return (1 - share) * below + share * above
    totals, spans = _looked_at(kernel, mixes, batch, samples)
    found = blocks(spans, alone)
    one, token = 1 / found, totals / found  # the line at these two is to be 1
    ones, tokens, both = (one**2).sum(axis=1), (token**2).sum(axis=1), (one * token).sum(axis=1)
    apart = ones * tokens - both**2
    a_token = np.maximum(0.0, (ones * token.sum(axis=1) - both * one.sum(axis=1)) / apart)
    return np.stack([(one.sum(axis=1) - both * a_token) / ones, a_token], axis=1)
