"""The examples of pre-training as arrays, made by many processes at once."""

from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from profiler.tuning.experiment.tasks import VOCABULARY, mixture
from sunsim.files import replacing

WIDTH = 72
"""Places for the tokens of an example; longer ones are left out."""
PIECE = 25_000
"""Examples that a process makes at a time."""


class Corpus(NamedTuple):
    """ids: [examples, WIDTH], prompt, response, padding. prompt_tokens, tokens: [examples], of the prompt and of both."""

    ids: NDArray[np.uint8]
    prompt_tokens: NDArray[np.uint8]
    tokens: NDArray[np.uint8]


def piece(seed: int, count: int = PIECE) -> Corpus:
    """So many examples of the mixture, those of one seed."""
    ids = np.full((count, WIDTH), VOCABULARY.pad, np.uint8)
    prompt_tokens, tokens = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    pairs = ((VOCABULARY.prompt_ids(example), VOCABULARY.response_ids(example)) for example in mixture(seed))
    fitting = ((prompt, response) for prompt, response in pairs if len(prompt) + len(response) <= WIDTH)
    for i, (prompt, response) in enumerate(islice(fitting, count)):
        prompt_tokens[i], tokens[i] = len(prompt), len(prompt) + len(response)
        ids[i, : tokens[i]] = prompt + response
    return Corpus(ids, prompt_tokens, tokens)


def write_corpus(path: Path, count: int, processes: int) -> None:
    """Makes `count` examples, rounded up to whole pieces, and writes them, whole or not at all."""
    seeds = range(-(-count // PIECE))
    with get_context("spawn").Pool(min(processes, len(seeds))) as pool:
        pieces = pool.map(piece, seeds, chunksize=1)
    ids, prompt_tokens, tokens = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    with replacing(path) as partial:
        np.savez(partial, ids=ids, prompt_tokens=prompt_tokens, tokens=tokens)


def read_corpus(path: Path) -> Corpus:
    """What `write_corpus` has written."""
    with np.load(path) as arrays:
        return Corpus(*(arrays[name] for name in Corpus._fields))
