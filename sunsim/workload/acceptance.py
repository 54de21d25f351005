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
REQUESTS, STEPS = 32, 64
"""Of as many requests, and as many steps of each, luck is made at a time; other numbers make other draws."""
KEPT = 1024
"""Tables of so many requests and steps that are kept."""
END = 2**62


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
        self._pieces: dict[tuple[int, int], list[tuple[int, tuple[float, ...]]]] = {}
        self._tables: dict[tuple[int, int, tuple[float, ...]], Ints] = {}
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
        return np.diff(self.ends(request, model, drafted, known_tokens, tokens, k), prepend=0) - 1

    def ends(self, request: int, model: int, drafted: int, known_tokens: int, tokens: int, k: int) -> Ints:
        """The tokens that are out after each of the steps of `accepted`; int64[steps]."""
        if self.expected:
            return self._as_expected(model, known_tokens, tokens, k)
        pieces = self._pieces.get((model, k)) or self._make_pieces(model, k)
        block, row = divmod(request, REQUESTS)
        done, piece = 0, 0
        found: list[Ints] = []
        while done < tokens:
            while known_tokens + done >= pieces[piece][0]:
                piece += 1
            until, rates = pieces[piece]
            chunk, i = divmod(drafted, STEPS)
            table = self._tables.get((block, chunk, rates))
            if table is None:
                table = self._make_table(block, chunk, rates)
            ends = table[row, i + 1 :] + (done - int(table[row, i]))
            enough = min(tokens, until - known_tokens)
            if int(ends[-1]) >= enough:
                ends = ends[: int(ends.searchsorted(enough)) + 1]
            found.append(ends)
            drafted += ends.size
            done = int(ends[-1])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _make_pieces(self, model: int, k: int) -> list[tuple[int, tuple[float, ...]]]:
        """Rates of a model for so many drafts, each with the context before which they hold."""
        begins = [*(each.from_tokens for each in self._rates[model][1:]), END]
        pieces = [(until, each.rates[:k]) for until, each in zip(begins, self._rates[model], strict=True)]
        self._pieces[model, k] = pieces
        return pieces

    def _make_table(self, block: int, chunk: int, rates: tuple[float, ...]) -> Ints:
        """Tokens that are out before and after each of some steps of some requests, int64[REQUESTS, STEPS + 1]."""
        philox = np.random.Philox(key=self._key, counter=np.array([0, chunk, block, 0], np.uint64))
        luck = np.random.Generator(philox).random((REQUESTS, STEPS))
        bursts = np.ones((REQUESTS, STEPS), np.int64)
        for rate in rates:
            bursts += luck < rate
        table = np.zeros((REQUESTS, STEPS + 1), np.int64)
        np.cumsum(bursts, axis=1, out=table[:, 1:])
        if len(self._tables) >= KEPT:
            del self._tables[next(iter(self._tables))]
        self._tables[block, chunk, rates] = table
        return table

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
        return (2 * tokens * np.arange(1, n + 1) + n) // (2 * n)

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
