"""How many of a request's drafted tokens are accepted: drawn from rates, or as many as are expected.

Rates are cumulative, vLLM's ``synthetic_acceptance_rates``: entry ``i`` is the share of drafts whose first ``i + 1`` tokens
are all accepted. One uniform number decides a drafted step, the ``n``-th of its request, so that the same step has the
same luck in every arm and for every rate, number of drafts and schedule.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.workload.streams import seed_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
PHILOX = 4
"""Numbers that Philox makes at a time."""
END = 2**62


def are_rates(numbers: Sequence[float]) -> bool:
    """Whether numbers can be cumulative acceptance rates: from 0 to 1, none above the one before."""
    return all(1 >= rate >= following >= 0 for rate, following in pairwise((*numbers, 0.0)))


class Rates(NamedTuple):
    """Cumulative acceptance rates that hold from a context on."""

    from_tokens: int
    rates: tuple[float, ...]


class Piece(NamedTuple):
    """Rates, rising, that hold for steps before which fewer than so many tokens are known, and the mean burst with them."""

    until: int
    rising: Floats
    mean: float


class Acceptance:
    """Accepted drafts of every request of a simulation.

    Args:
        seed: of the simulation; its stream is called ``acceptance``.
        rates: of each model by index, each from 0 tokens on first, then by rising context; as many rates as the most drafts
            in a step.
        expected: every request takes as many steps as on average, instead of drawing them.
    """

    def __init__(self, seed: int, rates: list[list[Rates]], *, expected: bool = False) -> None:
        self._bits = np.random.Philox(key=seed_of(seed, "acceptance").generate_state(2, np.uint64))
        self._numbers = np.random.Generator(self._bits)
        self._begin = self._bits.state
        self._rates = rates
        self.expected = expected
        self._pieces: dict[tuple[int, int], list[Piece]] = {}
        self._steps: dict[tuple[float, ...], Floats] = {}  # by rates: `expected_steps` of so many tokens

    def ends(self, request: int, model: int, drafts: int, known_tokens: int, tokens: int, k: int) -> Ints:
        """Tokens that are out after each of the next steps with drafts, until at least `tokens` are; int64[steps].

        A step emits one token more than it accepts; the last of these may emit more than were asked for.

        Args:
            request: row of the request in the workload.
            model: index of its model.
            drafts: steps with drafts that it has taken.
            known_tokens: its prompt and what it has emitted before.
            tokens: still to come, at least one.
            k: drafts in each step, at least one.
        """
        if self.expected:
            return self._as_expected(model, known_tokens, tokens, k)
        pieces = self._pieces.get((model, k)) or self._make_pieces(model, k)
        done, piece = 0, 0
        found: list[Ints] = []
        while done < tokens:
            while known_tokens + done >= pieces[piece].until:
                piece += 1
            until, rising, mean = pieces[piece]
            here = min(tokens, until - known_tokens) - done
            luck = self._luck(request, drafts, min(here, int(1.2 * here / mean) + 8))
            ends: Ints = (k + 1 - rising.searchsorted(luck, side="right")).cumsum()
            if int(ends[-1]) >= here:
                ends = ends[: int(ends.searchsorted(here)) + 1]
            found.append(ends + done if done else ends)
            drafts += ends.size
            done += int(ends[-1])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _luck(self, request: int, drafts: int, steps: int) -> Floats:
        """The uniform numbers of a request's steps with drafts from the `drafts`-th on; float64[steps]."""
        first, skipped = divmod(drafts, PHILOX)
        begin = self._begin
        begin["state"]["counter"][:] = (first, 0, request, 0)
        self._bits.state = begin
        return self._numbers.random(skipped + steps)[skipped:]

    def _make_pieces(self, model: int, k: int) -> list[Piece]:
        """Rates of a model for so many drafts, by rising context."""
        all_rates = self._rates[model]
        ends = [*(each.from_tokens for each in all_rates[1:]), END]
        self._pieces[model, k] = pieces = [
            Piece(until, np.array(each.rates[:k])[::-1].copy(), 1 + sum(each.rates[:k]))
            for until, each in zip(ends, all_rates, strict=True)
        ]
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
