"""Prompt and output lengths: inverse CDFs of uniform draws, with their analytic mean and maximum."""

import json
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import scipy  # whose parts load when they are used, and this one takes a tenth of a second
from numpy.typing import NDArray

from sunsim.latency.attention import LengthMix
from sunsim.workload.blocks import (
    AzureLengths,
    FixedLengths,
    FixedTokens,
    Lengths,
    Lognormal,
    LognormalLengths,
    RoundTokens,
)

MIX_DRAWS = 2000
MIX_SEED = 20_261_125

RANKS = np.concatenate([np.arange(990) / 1000, np.arange(9900, 10_001) / 10_000])
"""Ranks at which tables hold quantiles: 0 to 1 by 0.001, and by 0.0001 from 0.99, where few long requests weigh."""


class LengthTable(NamedTuple):
    """A table made by `benchmarks.lengths_table`.

    Attributes:
        prompt_quantiles: tokens at `RANKS`, float64[q].
        output_quantiles: tokens at `RANKS`, float64[q].
        rank_cdf: row i is the CDF over output rank bins given prompt rank bin i, float64[b, b + 1] from 0 to 1.
    """

    prompt_quantiles: NDArray[np.float64]
    output_quantiles: NDArray[np.float64]
    rank_cdf: NDArray[np.float64]


@lru_cache
def load_table(kind: str) -> LengthTable:
    """The shipped table called `kind` (azure-conv, azure-code)."""
    raw = json.loads(files("sunsim.workload").joinpath("tables", f"{kind}.json").read_text(encoding="utf-8"))
    counts = np.cumsum(np.pad(np.asarray(raw["rank_grid"]), ((0, 0), (1, 0))), axis=1)
    prompt, output = (np.asarray(raw[name]["quantiles"], np.float64) for name in ("prompt_tokens", "output_tokens"))
    return LengthTable(prompt, output, counts / counts[:, -1:])


def draw_lengths(
    lengths: Lengths, prompt_uniform: NDArray[np.float64], output_uniform: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Prompt and output tokens, int32[n] each and at least 1, from draws in [0, 1), float64[n] each."""
    if isinstance(lengths, FixedLengths):
        size = prompt_uniform.size
        return np.full(size, lengths.prompt_tokens, np.int32), np.full(size, lengths.output_tokens, np.int32)
    if isinstance(lengths, LognormalLengths):
        return _lognormal(lengths.prompt, prompt_uniform), _lognormal(lengths.output, output_uniform)
    table = load_table(lengths.kind)
    output_rank = _output_rank(table.rank_cdf, prompt_uniform, output_uniform)
    return _at_rank(table.prompt_quantiles, prompt_uniform), _at_rank(table.output_quantiles, output_rank)


@lru_cache(maxsize=8)
def length_mix(lengths: Lengths) -> LengthMix:
    """The lengths that meet in batches: of the law, not of a seed's requests, so that seeds share a step-time model."""
    return LengthMix.of(*draw_lengths(lengths, *np.random.default_rng(MIX_SEED).random((2, MIX_DRAWS))))


def draw_tokens(tokens: RoundTokens, uniform: NDArray[np.float64]) -> NDArray[np.int32]:
    """Tokens of rounds, int32[n] and at least 1, from draws in [0, 1), float64[n]."""
    if isinstance(tokens, FixedTokens):
        return np.full(uniform.size, tokens.tokens, np.int32)
    return _lognormal(tokens, uniform)


def most_tokens(tokens: RoundTokens) -> int:
    """The most that `draw_tokens` can give."""
    return tokens.tokens if isinstance(tokens, FixedTokens) else tokens.max_tokens


def longest(lengths: Lengths) -> tuple[int, int]:
    """Most prompt and most output tokens that `draw_lengths` can give; not both always in one request."""
    match lengths:
        case FixedLengths():
            return lengths.prompt_tokens, lengths.output_tokens
        case LognormalLengths():
            return lengths.prompt.max_tokens, lengths.output.max_tokens
        case AzureLengths():
            table = load_table(lengths.kind)
            return int(table.prompt_quantiles[-1]), int(table.output_quantiles[-1])


def _lognormal(length: Lognormal, uniform: NDArray[np.float64]) -> NDArray[np.int32]:
    tokens = length.median_tokens * np.exp(length.sigma * scipy.special.ndtri(uniform))
    whole: NDArray[np.int32] = np.clip(np.rint(tokens), 1, length.max_tokens).astype(np.int32)
    return whole


def _at_rank(quantiles: NDArray[np.float64], rank: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(np.interp(rank, RANKS, quantiles)).astype(np.int32)


def _output_rank(
    rank_cdf: NDArray[np.float64], prompt_uniform: NDArray[np.float64], output_uniform: NDArray[np.float64]
) -> NDArray[np.float64]:
    bins = len(rank_cdf)
    row = (prompt_uniform * bins).astype(np.int64)
    # Adding the row's number makes one sorted array of all rows' CDFs, so that one search serves all requests.
    within = np.minimum(output_uniform, 1 - 2.0**-40)
    edges = (np.arange(bins)[:, None] + rank_cdf[:, 1:]).ravel()
    column = np.searchsorted(edges, row + within, side="right") - row * bins
    low, high = rank_cdf[row, column], rank_cdf[row, column + 1]
    rank: NDArray[np.float64] = (column + np.clip((within - low) / (high - low), 0, 1)) / bins
    return rank
