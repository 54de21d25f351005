"""A trace as read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import since_s

MAX_TOKENS = 2**30
"""A prompt or output has fewer."""

MAX_CLOCK_S = 1e12
"""Latest time that a trace's own clock may show; what a scenario may last is less."""


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """Of requests that are rounds of sessions, each of which waits for the one before it; those of a session together.

    Attributes:
        session: a number that does not fall, int64[n].
        think_s: from the last token of the round before to its own arrival, float64[n]; not looked at without one.
        kept_tokens: of what was said before in its session, those that its prompt begins with, int64[n], less than the
            prompt has.
        prefix: the text that its session begins with, int64[n]: equal numbers stand for equal texts, `UNKNOWN` for one
            that no other begins with. None: it is that of the model.
        prefix_tokens: of that text, int64[n].
    """

    session: NDArray[np.int64]
    think_s: NDArray[np.float64]
    kept_tokens: NDArray[np.int64]
    prefix: NDArray[np.int64] | None
    prefix_tokens: NDArray[np.int64]

    @property
    def opens(self) -> NDArray[np.bool_]:
        """Whether it is the first round that there is of its session, bool[n]."""
        return np.append(np.ones(min(1, self.session.size), np.bool_), self.session[1:] != self.session[:-1])

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Rounds:
        """The chosen ones."""
        prefix = None if self.prefix is None else self.prefix[chosen]
        columns = (self.session[chosen], self.think_s[chosen], self.kept_tokens[chosen])
        return Rounds(*columns, prefix, self.prefix_tokens[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class TraceRows:
    """Requests by arrival.

    Attributes:
        arrival_s: seconds, float64[n], non-decreasing; of rounds of a session all the first one's.
        prompt_tokens: int64[n], from 0.
        output_tokens: int64[n], from 0.
        line: of the file, counted from 1, int64[n].
        model: index into `names`, int64[n]; None if the trace names no models.
        names: what the trace calls its models, in the order of the file.
        out_of_order: how many stood in the file behind one that arrives later.
        rounds: what follows what; None where each request arrives at its own time.
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    line: NDArray[np.int64]
    model: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    out_of_order: int = 0
    rounds: Rounds | None = None

    def __len__(self) -> int:
        return self.arrival_s.size

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> TraceRows:
        """The chosen ones."""
        return replace(
            self,
            arrival_s=self.arrival_s[chosen],
            prompt_tokens=self.prompt_tokens[chosen],
            output_tokens=self.output_tokens[chosen],
            line=self.line[chosen],
            model=None if self.model is None else self.model[chosen],
            rounds=self.rounds and self.rounds.take(chosen),
        )


def from_first(rows: TraceRows) -> TraceRows:
    """`rows`, in whatever order, by arrival; the first arrives at 0, those that arrive together stay in their order."""
    late = rows.arrival_s < np.maximum.accumulate(rows.arrival_s)
    ordered = rows.take(np.argsort(rows.arrival_s, kind="stable")) if late.any() else rows
    arrival_s = since_s(ordered.arrival_s, float(ordered.arrival_s[0]))
    return replace(ordered, arrival_s=arrival_s, out_of_order=int(late.sum()))
