"""What a scenario's figures come from: its requests, the window that they are measured in, and the summary of its arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.clock import to_ps, to_s
from sunsim.errors import InputError
from sunsim.metrics import summarize
from sunsim.metrics.rows import Window
from sunsim.workload.requests import build_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sunsim.document.source import Loc
    from sunsim.records import ArmResult
    from sunsim.scenario.blocks import Scenario
    from sunsim.workload.requests import Requests


def _without_place(_: Loc, message: str) -> InputError:
    return InputError(message)


def requests_of(scenario: Scenario, error: Callable[[Loc, str], InputError] = _without_place) -> Requests:
    """The requests of a loaded scenario, of which there is something to be measured.

    Args:
        error: of a place in the scenario and a message.

    Raises:
        InputError: as `build_requests` and `refuse_empty`.
    """
    requests = build_requests(scenario)
    refuse_empty(scenario, requests, error)
    return requests


def window_of(scenario: Scenario, requests: Requests) -> Window:
    """The window that the figures of these requests come from: from the end of the warm-up to the last arrival.

    Or to a stop before that.
    """
    begin_s, _, last_s = _moments(scenario, requests)
    stop_s = _stop_s(scenario)
    start_s = to_s(to_ps(begin_s) + to_ps(scenario.measure.warmup_s))
    return Window(start_s, last_s if stop_s is None else min(last_s, stop_s))


def arriving_s(scenario: Scenario, requests: Requests) -> float:
    """For how long these requests arrive, warm-up included, in seconds."""
    begin_s, _, last_s = _moments(scenario, requests)
    return last_s - begin_s


def refuse_empty(scenario: Scenario, requests: Requests, error: Callable[[Loc, str], InputError]) -> None:
    """Raises what `error` makes of a place in the scenario and a message.

    Raises:
        InputError: the warm-up, or the stop, leaves nothing to be measured. Requests that arrive all at once may be.
    """
    if requests.concurrency:  # only the simulation knows when they arrive
        return
    begin_s, first_s, _ = _moments(scenario, requests)
    window, warmup_s, stop_s = window_of(scenario, requests), scenario.measure.warmup_s, _stop_s(scenario)
    if stop_s is not None and stop_s <= first_s:
        message = f"stop.limit_s is {stop_s:g}, must be above {first_s:g}, when the first request arrives"
        raise error(("stop", "limit_s"), message)
    if warmup_s and window.end_s <= window.start_s:
        most_s = window.end_s - begin_s
        must = f"below {most_s:g}, where measuring ends" if most_s > 0 else "0, as all requests arrive at once"
        since = f" after the first arrival at {begin_s:g} s" if begin_s else ""
        raise error(("measure", "warmup_s"), f"measure.warmup_s is {warmup_s:g}{since}, must be {must}")


def summary_of(
    scenario: Scenario, arms: Sequence[ArmResult], window: Window, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`summarize` for simulated arms of a scenario."""
    return summarize(
        arms,
        window,
        slo=scenario.slo.model_dump(),
        meta=meta or {},
        stop_s=_stop_s(scenario),
        model_names=scenario.model_names,
    )


def _moments(scenario: Scenario, requests: Requests) -> tuple[float, float, float]:
    """From when on requests come, when the first one arrives, and the last, in seconds.

    Drawn ones come from 0 on, those of a trace from their first one on: its own clock may show anything then.
    """
    first_s, last_s = to_s(requests.arrival_ps[[0, -1]]).tolist()
    return first_s if scenario.workload.kind == "trace" else 0.0, first_s, last_s


def _stop_s(scenario: Scenario) -> float | None:
    """When the run is stopped; None if it goes on until all have finished."""
    return scenario.stop.limit_s if scenario.stop.when == "time" else None
