"""What of a scenario's time its figures come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.clock import to_s
from sunsim.metrics.rows import Window
from sunsim.scenario.blocks import StopAtTime

if TYPE_CHECKING:
    from collections.abc import Callable

    from sunsim.document.source import Loc
    from sunsim.errors import InputError
    from sunsim.scenario import Scenario
    from sunsim.workload.requests import Requests


def begin_s(scenario: Scenario, first_s: float) -> float:
    """From when on requests come, given the first arrival: drawn ones from 0, those of a trace from their first one on.

    A trace's own clock may show anything then, and arrivals stay as it has them.
    """
    return first_s if scenario.workload.kind == "trace" else 0.0


def stop_s(scenario: Scenario) -> float | None:
    """When the run is stopped; None if it goes on until all have finished."""
    return scenario.stop.limit_s if isinstance(scenario.stop, StopAtTime) else None


def window_of(scenario: Scenario, requests: Requests) -> Window:
    """The window that the figures of these requests come from."""
    first_s, last_s = to_s(requests.arrival_ps[[0, -1]]).tolist()
    return Window.between(begin_s(scenario, first_s), last_s, scenario.measure.warmup_s, stop_s(scenario))


def arriving_s(scenario: Scenario, requests: Requests) -> float:
    """For how long these requests arrive, warm-up included, in seconds."""
    first_s, last_s = to_s(requests.arrival_ps[[0, -1]]).tolist()
    return float(last_s - begin_s(scenario, first_s))


def refuse_empty(scenario: Scenario, requests: Requests, error: Callable[[Loc, str], InputError]) -> None:
    """Raises what `error` makes of a place in the scenario and a message.

    Raises:
        InputError: the warm-up, or the stop, leaves nothing to be measured. Requests that arrive all at once may be.
    """
    if requests.concurrency:  # only the simulation knows when they arrive
        return
    window, first_s = window_of(scenario, requests), to_s(int(requests.arrival_ps[0]))
    warmup_s, limit_s = scenario.measure.warmup_s, stop_s(scenario)
    begun_s = begin_s(scenario, first_s)
    if limit_s is not None and limit_s <= first_s:
        message = f"stop.limit_s is {limit_s:g}, must be above {first_s:g}, when the first request arrives"
        raise error(("stop", "limit_s"), message)
    if warmup_s and window.end_s <= window.start_s:
        most_s = window.end_s - begun_s
        must = f"below {most_s:g}, where measuring ends" if most_s > 0 else "0, as all requests arrive at once"
        since = f" after the first arrival at {begun_s:g} s" if begun_s else ""
        raise error(("measure", "warmup_s"), f"measure.warmup_s is {warmup_s:g}{since}, must be {must}")
