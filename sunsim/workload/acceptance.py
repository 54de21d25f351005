"""How many of a request's drafted tokens are accepted: drawn from rates, or as many as are expected.

Rates are cumulative, vLLM's ``synthetic_acceptance_rates``: entry ``i`` is the share of drafts whose first ``i + 1`` tokens
are all accepted. One uniform number decides a drafted step, the ``n``-th of its request, so that the same step has the
same luck in every arm and for every rate, number of drafts and schedule.
"""

from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Rates(NamedTuple):
    """Cumulative acceptance rates that hold from a context on."""

    from_tokens: int
    rates: tuple[float, ...]


class Acceptance:
    """Accepted drafts of every request of a simulation.

    Args:
        seed: of the simulation; its stream is called ``acceptance``.
        rates: of each model by index, each from 0 tokens on first, then by rising context; as many rates as the most drafts
            in a step.
        expected: every request takes as many steps as on average, instead of drawing them.
    """

    def __init__(self, seed: int, rates: list[list[Rates]], *, expected: bool = False) -> None:
        self._key = np.random.SeedSequence(seed, spawn_key=(crc32(b"acceptance"),)).generate_state(2, np.uint64)
        self._rates = rates
        self._expected = expected

    def accepted(self, request: int, model: int, drafted: int, known_tokens: int, tokens: int, k: int) -> Ints:
        """Accepted drafts in each of the next steps with drafts, until at least `tokens` more are out; int64[steps].

        A step emits one token more than it accepts; the last of these may emit more than were asked for.

        Args:
            request: row of the request in the workload.
            model: index of its model.
            drafted: steps with drafts that it has taken.
            known_tokens: its prompt and what it has emitted before.
            tokens: still to come, at least one.
            k: drafts in each step, at least one.
        """
        raise NotImplementedError
