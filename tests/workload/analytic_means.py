"""What lengths are in the mean, worked out from their laws instead of drawn."""

import numpy as np
import scipy.special
from numpy.typing import NDArray

from sunsim.workload.blocks import FixedLengths, Lengths, Lognormal, LognormalLengths
from sunsim.workload.lengths import RANKS, load_table


def mean_lengths(lengths: Lengths) -> tuple[float, float]:
    """Expected prompt and output tokens of `draw_lengths`.

    Exact for fixed and lognormal lengths (``sum of P(X >= k)`` over whole k); for tables the mean before rounding.
    """
    if isinstance(lengths, FixedLengths):
        return float(lengths.prompt_tokens), float(lengths.output_tokens)
    if isinstance(lengths, LognormalLengths):
        return _lognormal_mean(lengths.prompt), _lognormal_mean(lengths.output)
    table = load_table(lengths.kind)
    bins = len(table.rank_cdf)
    output_bins = np.diff(table.rank_cdf, axis=1).mean(axis=0)
    prompt = _bin_means(table.prompt_quantiles, bins).mean()
    return float(prompt), float(output_bins @ _bin_means(table.output_quantiles, bins))


def _lognormal_mean(length: Lognormal) -> float:
    thresholds = np.arange(2, length.max_tokens + 1) - 0.5
    return 1.0 + float(scipy.special.ndtr(np.log(length.median_tokens / thresholds) / length.sigma).sum())


def _bin_means(quantiles: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    integral = np.append(0.0, np.cumsum(np.diff(RANKS) * (quantiles[1:] + quantiles[:-1]) / 2))
    means: NDArray[np.float64] = np.diff(np.interp(np.arange(bins + 1) / bins, RANKS, integral)) * bins
    return means
