"""How many of a request's drafted tokens are accepted: drawn from rates, or as many as are expected.

Rates are cumulative, vLLM's ``synthetic_acceptance_rates``: entry ``i`` is the share of drafts whose first ``i + 1`` tokens
are all accepted. One uniform number decides a drafted step, the ``n``-th of its request, so that the same step has the
same luck in every arm and for every rate, number of drafts and schedule.
"""

from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
BLOCK = 4
"""Numbers that Philox makes at a time."""


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
        self.expected = expected
        # By model and number of drafts: the context from which on each piece holds, and its rates, rising.
        self._pieces: dict[tuple[int, int], list[tuple[int, Floats]]] = {}
        self._steps: dict[tuple[float, ...], Floats] = {}  # by rates: `expected_steps` of so many tokens

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
        if self.expected:
            return self._as_expected(model, known_tokens, tokens, k)
        pieces = self._pieces.get((model, k)) or self._make_pieces(model, k)
        luck = self._luck(request, drafted, tokens)
        (_, rising), (until, _) = pieces[0], pieces[1]
        if until >= known_tokens + tokens:
            accepted: Ints = k - rising.searchsorted(luck, side="right")
            return accepted[: _steps_for(accepted, tokens)]
        found: list[Ints] = []
        for (_, rising), (until, _) in pairwise(pieces):
            here = min(until - known_tokens, tokens)
            if here <= 0:
                continue
            accepted = k - rising.searchsorted(luck, side="right")
            steps = _steps_for(accepted, here)
            found.append(accepted[:steps])
            emitted = int(accepted[:steps].sum()) + steps
            known_tokens += emitted
            tokens -= emitted
            luck = luck[steps:]
            if tokens <= 0:
                break
        return np.concatenate(found)

    def _luck(self, request: int, drafted: int, steps: int) -> Floats:
        """The uniform numbers of a request's steps with drafts from the `drafted`-th on; float64[steps]."""
        first, skipped = divmod(drafted, BLOCK)
        philox = np.random.Philox(key=self._key, counter=np.array([first, 0, request, 0], np.uint64))
        return np.random.Generator(philox).random(skipped + steps)[skipped:]

    def _make_pieces(self, model: int, k: int) -> list[tuple[int, Floats]]:
        pieces = [(each.from_tokens, np.array(each.rates[:k])[::-1].copy()) for each in self._rates[model]]
        self._pieces[model, k] = pieces = [*pieces, (2**62, pieces[-1][1])]
        return pieces

    def _as_expected(self, model: int, known_tokens: int, tokens: int, k: int) -> Ints:
        """As many steps as `expected_steps` says, rounded, and the tokens spread evenly over them.

        Those that would come with other rates, further on, count with theirs.
        """
        steps = 0.0
        left, known = tokens, known_tokens
        pieces = self._rates[model]
        for i, piece in enumerate(pieces):
            here = left if i + 1 == len(pieces) else min(left, pieces[i + 1].from_tokens - known)
            if here > 0:
                steps += self._expected_steps(piece.rates[:k], here)
                left -= here
                known += here
        n = max(round(steps), -(-tokens // (k + 1)))
        ends = (2 * tokens * np.arange(n + 1) + n) // (2 * n)
        return ends[1:] - ends[:-1] - 1

    def _expected_steps(self, rates: tuple[float, ...], tokens: int) -> float:
        known = self._steps.get(rates)
        if known is None or known.size <= tokens:
            self._steps[rates] = known = expected_steps(rates, max(1024, 2 * tokens))
        return float(known[tokens])


def expected_steps(rates: tuple[float, ...], most: int) -> Floats:
    """Mean number of steps until at least so many tokens are out, for each number up to `most`; float64[most + 1].

    The renewal equation: ``N(t) = 1 + sum over x of p(x) N(t - x)``, with ``p(x)`` the share of steps that emit ``x`` tokens.
    """
    least = [1.0, *rates, 0.0]
    share = [a - b for a, b in pairwise(least)]  # of steps that emit one token more than the index
    steps = [0.0] * (most + 1)
    for t in range(1, most + 1):
        steps[t] = 1.0 + sum(p * steps[t - x] for x, p in enumerate(share, 1) if x < t)
    return np.array(steps)


def rates_of_length(length: float, num_speculative_tokens: int) -> tuple[float, ...]:
    """Rates whose mean acceptance length is `length`, from 1 to `num_speculative_tokens` + 1.

    vLLM's for ``synthetic_acceptance_length``: of all such rates those with the least variance.
    """
    return tuple(min(1.0, max(0.0, length - 1 - i)) for i in range(num_speculative_tokens))


def _steps_for(accepted: Ints, tokens: int) -> int:
    """How many steps it takes until at least so many tokens are out, if there are enough steps."""
    ends = np.add.accumulate(accepted + 1)
    return int(ends.searchsorted(tokens)) + 1
