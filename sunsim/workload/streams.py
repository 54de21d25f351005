"""Named streams of random numbers: one a purpose, so that a new consumer shifts no other draw."""

from zlib import crc32

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of the stream called `name` of a simulation with `seed`, at its beginning.

    Equal arguments give equal draws on every machine and run (PCG64 on `seed_of`).
    """
    return np.random.default_rng(seed_of(seed, name))


def seed_of(seed: int, name: str) -> np.random.SeedSequence:
    """The stream's own seed, for a generator of another kind."""
    return np.random.SeedSequence(seed, spawn_key=(crc32(name.encode()),))
