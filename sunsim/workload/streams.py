"""Named streams of random numbers: one a purpose, so that a new consumer shifts no other draw."""

from zlib import crc32

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of the stream called `name` of a simulation with `seed`, at its beginning.

    Equal arguments give equal draws on every machine and run (PCG64 on a `numpy.random.SeedSequence`).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(crc32(name.encode()),)))
