"""The lengths that meet in batches of drawn requests."""

from functools import lru_cache

import numpy as np

from sunsim.latency.attention import LengthMix
from sunsim.workload.blocks import Lengths
from sunsim.workload.lengths import draw_lengths

DRAWS = 2000
SEED = 20_261_125


@lru_cache(maxsize=8)
def length_mix(lengths: Lengths) -> LengthMix:
    """Of the law, not of a seed's requests, so that all seeds share one step-time model."""
    draws = np.random.default_rng(SEED).random((2, DRAWS))
    return LengthMix.of(*draw_lengths(lengths, *draws))
