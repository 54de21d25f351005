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
class TraceRows:
    """Requests by arrival.

    Attributes:
        arrival_s: seconds, float64[n], non-decreasing.
        prompt_tokens: int64[n], from 0.
        output_tokens: int64[n], from 0.
        line: of the file, counted from 1, int64[n].
        model: index into `names`, int64[n]; None if the trace names no models.
        names: what the trace calls its models, in the order of the file.
        out_of_order: how many stood in the file behind one that arrives later.
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    line: NDArray[np.int64]
    model: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    out_of_order: int = 0

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
        )


def from_first(rows: TraceRows) -> TraceRows:
    """`rows`, in whatever order, by arrival; the first arrives at 0, those that arrive together stay in their order."""
    late = rows.arrival_s < np.maximum.accumulate(rows.arrival_s)
    ordered = rows.take(np.argsort(rows.arrival_s, kind="stable")) if late.any() else rows
    arrival_s = since_s(ordered.arrival_s, float(ordered.arrival_s[0]))
    return replace(ordered, arrival_s=arrival_s, out_of_order=int(late.sum()))
