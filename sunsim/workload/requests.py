"""Requests: drawn, or taken from a trace."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import MAX_S, to_ps
from sunsim.errors import InputError
from sunsim.workload.arrivals import draw_along, draw_arrivals
from sunsim.workload.blocks import Arrivals, Closed, Synthetic
from sunsim.workload.changes import Popularity
from sunsim.workload.lengths import draw_lengths
from sunsim.workload.rates import drawn_rate
from sunsim.workload.sessions import Sessions
from sunsim.workload.shares import draw_models, draw_models_over, shares_over
from sunsim.workload.streams import stream
from sunsim.workload.traces.rows import TraceRows
from sunsim.workload.traces.sessions import sessions_of

COLUMNS = ("arrival_ps", "model", "prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Requests by arrival; a request's id is its index.

    Attributes:
        arrival_ps: arrival at the router in picoseconds, int64[n], non-decreasing; 0 throughout in a closed loop.
        model: index into `models`, int32[n].
        prompt_tokens: int32[n], at least 1.
        output_tokens: int32[n], at least 1.
        models: the scenario's model names.
        concurrency: of a closed loop, in which so many arrive at 0 and each of the others when one ends; None: all
            arrive when `arrival_ps` says.
        sessions: where they are rounds of conversations: those that follow another arrive when the run says, and have an
            `arrival_ps` of 0; the others are in order of arrival. None: nothing is known to be in common.
    """

    arrival_ps: NDArray[np.int64]
    model: NDArray[np.int32]
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    models: tuple[str, ...]
    concurrency: int | None = None
    sessions: Sessions | None = None

    def __len__(self) -> int:
        return self.arrival_ps.size

    def where(self, own: NDArray[np.bool_]) -> Requests:
        """Some of them only, with which are those that they wait for; indices into the models stay."""
        columns = {name: getattr(self, name)[own] for name in COLUMNS}
        return replace(self, **columns, sessions=self.sessions and self.sessions.where(own))


@dataclass(frozen=True, slots=True)
class Draws:
    """What random requests hang on besides their workload.

    Attributes:
        seed: of the random streams: one for arrivals, models, prompt and output lengths each, one draw a request.
        models: names.
        shares: expected share of the requests of each model, adding up to 1, where `popularity` says no other.
        popularity: how they change; None: they do not.
    """

    seed: int
    models: tuple[str, ...]
    shares: tuple[float, ...]
    popularity: Popularity | None = None

    def uniform(self, name: str, size: int) -> NDArray[np.float64]:
        """Of the stream of this name, in [0, 1), float64[size]."""
        return stream(self.seed, name).random(size)

    def of_models(self, arrival_s: NDArray[np.float64]) -> NDArray[np.int32]:
        """Indices into `models` of those that arrive at these times, which do not fall, int32[n]."""
        uniform = self.uniform("model", arrival_s.size)
        if self.popularity is None:
            return draw_models(self.shares, uniform)
        shares = shares_over(self.popularity, self.models, self.shares, self.seed, float(arrival_s[-1]))
        return draw_models_over(shares, arrival_s, uniform)


def draw_requests(workload: Synthetic, draws: Draws) -> Requests:
    """Draws all of a request.

    Raises:
        InputError: there would be none, or one later than a scenario may last; without a file.
    """
    arrivals, concurrency = workload.arrivals, None
    if isinstance(arrivals, Closed):
        arrival_s, concurrency = np.zeros(workload.requests or 0), arrivals.concurrency
    else:
        arrival_s = draw_arrivals_s(arrivals, draws.seed, workload.duration_s, workload.requests)
    size = arrival_s.size
    lengths = draw_lengths(workload.lengths, *(draws.uniform(f"{what}_tokens", size) for what in ("prompt", "output")))
    return Requests(to_ps(arrival_s), draws.of_models(arrival_s), *lengths, draws.models, concurrency)


def draw_arrivals_s(
    arrivals: Arrivals, seed: int, duration_s: float | None, requests: int | None
) -> NDArray[np.float64]:
    """`draw_arrivals` of a scenario's own stream, of which there are some, in seconds, float64[n].

    Raises:
        InputError: there would be none, or one later than a scenario may last; without a file.
    """
    rng = stream(seed, "arrivals")
    if duration_s is not None and arrivals.changes:
        arrival_s = draw_along(arrivals, drawn_rate(arrivals, duration_s, seed), rng, requests)
    else:
        arrival_s = draw_arrivals(arrivals, rng, duration_s, requests)
    rate = f"{arrivals.said_rate}, must be high enough for"
    if arrival_s.size == 0:
        message = f"{rate} a request within {duration_s:g} seconds"
        raise InputError(message)
    if arrival_s[-1] > MAX_S:
        message = f"{rate} {arrival_s.size:,} requests within {MAX_S:,.0f} seconds"
        raise InputError(message)
    return arrival_s


def traced_requests(rows: TraceRows, draws: Draws) -> Requests:
    """The requests of a trace; where it names no models, those are drawn, one for all rounds of a session."""
    tokens = (rows.prompt_tokens.astype(np.int32), rows.output_tokens.astype(np.int32))
    if rows.rounds is None:
        model = draws.of_models(rows.arrival_s) if rows.model is None else rows.model.astype(np.int32)
        return Requests(to_ps(rows.arrival_s), model, *tokens, draws.models)
    opens = rows.rounds.opens
    if rows.model is None:
        model = draws.of_models(rows.arrival_s[opens])[np.cumsum(opens) - 1]
    else:
        model = rows.model.astype(np.int32)
    arrival_ps = np.where(opens, to_ps(rows.arrival_s), 0)
    return Requests(arrival_ps, model, *tokens, draws.models, sessions=sessions_of(rows, rows.rounds, model))
