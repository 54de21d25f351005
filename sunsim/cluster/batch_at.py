"""How many requests a worker decodes at given moments, from the times of all its requests."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def batch_at(worker: Ints, begin_ps: Ints, end_ps: Ints, at_ps: Ints) -> Ints:
    """For each request, the requests of its worker that have begun at `at_ps` and not ended before, itself included.

    Args:
        worker: int[n], any numbers.
        begin_ps, end_ps: of each request's decoding.
        at_ps: a moment for each request.
    """
    batch = np.zeros(worker.size, dtype=np.int64)
    by_worker = np.argsort(worker, kind="stable")
    firsts = np.flatnonzero(np.diff(worker[by_worker])) + 1
    for own in np.split(by_worker, firsts):
        begun = np.searchsorted(np.sort(begin_ps[own]), at_ps[own], side="right")
        ended = np.searchsorted(np.sort(end_ps[own]), at_ps[own], side="left")
        batch[own] = begun - ended
    return batch
