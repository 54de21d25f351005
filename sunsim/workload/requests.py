"""The requests of a scenario: the same for each of its arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sunsim.clock import MAX_S, to_ps
from sunsim.errors import InputError
from sunsim.workload.arrivals import draw_arrivals
from sunsim.workload.blocks import Closed
from sunsim.workload.lengths import draw_lengths
from sunsim.workload.popularity import draw_models
from sunsim.workload.streams import stream
from sunsim.workload.traces.of_scenario import trace_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sunsim.scenario.blocks import Scenario
    from sunsim.workload.blocks import Synthetic, Trace


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
    """

    arrival_ps: NDArray[np.int64]
    model: NDArray[np.int32]
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    models: tuple[str, ...]
    concurrency: int | None = None

    def __len__(self) -> int:
        return self.arrival_ps.size

    def first(self, number: int) -> Requests:
        """The first so many of them."""
        columns = {name: getattr(self, name)[:number] for name in COLUMNS}
        return Requests(**columns, models=self.models, concurrency=self.concurrency)


def build_requests(scenario: Scenario) -> Requests:
    """Draws the requests of a loaded scenario, or reads them from its trace.

    Arrivals, models, prompt and output lengths each come from a random stream of their own, one draw a request.

    Raises:
        InputError: the trace is wrong, one of its requests can never fit into a worker of some arm, or there is no
            request at all.
    """
    workload = scenario.workload
    if workload.kind == "trace":
        return _from_trace(scenario, workload)
    return _synthetic(scenario, workload)


def _synthetic(scenario: Scenario, workload: Synthetic) -> Requests:
    seed = scenario.seed
    arrival_s, concurrency = _arrivals(scenario, workload)
    size = arrival_s.size
    prompt_uniform, output_uniform = (stream(seed, name).random(size) for name in ("prompt_tokens", "output_tokens"))
    prompt_tokens, output_tokens = draw_lengths(workload.lengths, prompt_uniform, output_uniform)
    model = _drawn_models(scenario, size)
    return Requests(to_ps(arrival_s), model, prompt_tokens, output_tokens, scenario.model_names, concurrency)


def _arrivals(scenario: Scenario, workload: Synthetic) -> tuple[NDArray[np.float64], int | None]:
    """Seconds, and how many are under way at a time in a closed loop, where all seconds are 0."""
    arrivals = workload.arrivals
    if isinstance(arrivals, Closed):
        return np.zeros(workload.requests or 0), arrivals.concurrency
    arrival_s = draw_arrivals(arrivals, stream(scenario.seed, "arrivals"), workload.duration_s, workload.requests)
    rate = f"workload.arrivals.rate_rps is {arrivals.rate_rps:g}"
    if arrival_s.size == 0:
        message = f"{rate}, must be high enough for a request within {workload.duration_s:g} seconds"
        raise InputError(message, f"scenario {scenario.name}")
    if arrival_s[-1] > MAX_S:
        message = f"{rate}, must be high enough for {arrival_s.size} requests within {MAX_S:g} seconds"
        raise InputError(message, f"scenario {scenario.name}")
    return arrival_s, None


def _from_trace(scenario: Scenario, workload: Trace) -> Requests:
    rows = trace_of(scenario, workload).rows
    model = _drawn_models(scenario, rows.arrival_s.size) if rows.model is None else rows.model.astype(np.int32)
    tokens = (rows.prompt_tokens.astype(np.int32), rows.output_tokens.astype(np.int32))
    return Requests(to_ps(rows.arrival_s), model, *tokens, scenario.model_names)


def _drawn_models(scenario: Scenario, size: int) -> NDArray[np.int32]:
    return draw_models(scenario.model_shares, stream(scenario.seed, "model").random(size))
