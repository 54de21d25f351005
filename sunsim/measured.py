"""What a scenario's figures come from: its requests, the window that they are measured in, and the summary of its arms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sunsim.clock import to_ps, to_s
from sunsim.document.source import Loc
from sunsim.errors import InputError
from sunsim.latency.power import Power
from sunsim.metrics import summarize
from sunsim.metrics.admission import add_shed
from sunsim.metrics.converted import add_converted
from sunsim.metrics.drafts import add_drafts
from sunsim.metrics.energy import add_power
from sunsim.metrics.pools import add_pools
from sunsim.metrics.rows import Window
from sunsim.metrics.sessions import add_sessions
from sunsim.records import ArmResult
from sunsim.scenario import Arm, Scenario, build_requests
from sunsim.scenario.scaling import KVUsage, TokenVelocity
from sunsim.scenario.worker_pool import Pool
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


def refuse_empty(scenario: Scenario, requests: Requests, error: Callable[[Loc, str], InputError]) -> None:
    """Raises what `error` makes of a place in the scenario and a message; of a closed loop only `window_of` can tell.

    Raises:
        InputError: the warm-up, or the stop, leaves nothing to be measured. Requests that arrive all at once may be.
    """
    begin_s, first_s, last_s = _moments(scenario, requests)
    stop_s = _stop_s(scenario)
    if stop_s is not None and stop_s <= first_s:
        message = f"stop.limit_s is {stop_s:g}, must be above {first_s:g}, when the first request arrives"
        raise error(("stop", "limit_s"), message)
    if not requests.concurrency:
        _refuse_empty(_window(scenario, begin_s, last_s), scenario, begin_s, error)


def window_of(scenario: Scenario, requests: Requests, arms: Sequence[ArmResult] = ()) -> Window:
    """The window that figures come from: from the end of the warm-up to the last arrival, or to a stop before that.

    Of sessions it is the last arrival of a first round: when the others arrive is for each arm to say.

    Args:
        arms: as simulated. When requests of a closed loop arrive is for them to say; there it is the first of their
            last arrivals.

    Raises:
        InputError: a closed loop is over before the warm-up.
    """
    begin_s, _, last_s = _moments(scenario, requests)
    if not requests.concurrency:
        return _window(scenario, begin_s, last_s)
    window = _window(scenario, begin_s, min(float(arm.rows["arrival_s"].max()) for arm in arms))
    _refuse_empty(window, scenario, begin_s, _without_place)
    return window


def _window(scenario: Scenario, begin_s: float, last_s: float) -> Window:
    stop_s = _stop_s(scenario)
    start_s = to_s(to_ps(begin_s) + to_ps(scenario.measure.warmup_s))
    return Window(start_s, last_s if stop_s is None else min(last_s, stop_s))


def _refuse_empty(window: Window, scenario: Scenario, begin_s: float, error: Callable[[Loc, str], InputError]) -> None:
    warmup_s = scenario.measure.warmup_s
    if warmup_s and window.end_s <= window.start_s:
        most_s = window.end_s - begin_s
        must = f"below {most_s:g}, where measuring ends" if most_s > 0 else "0, as all requests arrive at once"
        since = f" after the first arrival at {begin_s:g} s" if begin_s else ""
        raise error(("measure", "warmup_s"), f"measure.warmup_s is {warmup_s:g}{since}, must be {must}")


def arriving_s(scenario: Scenario, requests: Requests) -> float:
    """For how long these requests arrive, warm-up included, in seconds: of sessions the first ones; not known of a loop."""
    begin_s, _, last_s = _moments(scenario, requests)
    return last_s - begin_s


def summary_of(
    scenario: Scenario, arms: Sequence[ArmResult], window: Window, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`summarize` for simulated arms of a scenario, and what some have: elastic pools, converted requests, admission, power,
    sessions, drafts.
    """
    summary = summarize(
        arms,
        window,
        slo=scenario.slo.limits,
        worst_window_s=scenario.slo.worst_window_s,
        meta=meta or {},
        stop_s=_stop_s(scenario),
        model_names=scenario.model_names,
    )
    add_pools(summary, arms)
    served = [arm for arm in scenario.arms if arm.name in summary["arms"]]
    _add_ways(summary, served)
    convert = {arm.name for arm in served if arm.decode and arm.decode.convertible}
    for result in arms:
        if result.rows["arm"].iloc[0] in convert:
            add_converted(summary, result)
    if any(arm.block.admission for arm in scenario.arms):
        add_shed(summary, arms)
    power = {
        arm.name: {stage: found for stage, pool in arm.pools().items() if (found := Power.of(pool.profile.data))}
        for arm in scenario.arms
    }
    if any(power.values()):
        add_power(summary, arms, power)
    add_sessions(summary, arms, {arm.name: arm.kv_bytes_per_token for arm in scenario.arms})
    add_drafts(summary, arms)
    for arm in (arm for arm in served if arm.drafts):
        same = (other.name for other in served if not other.drafts and _way_but_drafts(other) == _way_but_drafts(arm))
        summary["arms"][arm.name]["without_drafts"] = next(same, None)
    return summary


def _add_ways(summary: Mapping[str, Any], arms: Sequence[Arm]) -> None:
    """Adds to arms with elastic pools which one serves the same way without, and to these pools the share of KV they go by."""
    fixed = [arm for arm in arms if not arm.elastic]
    for arm in (arm for arm in arms if arm.elastic):
        entry = summary["arms"][arm.name]
        entry["same_way"] = next((other.name for other in fixed if _way(other) == _way(arm)), None)
        for pool in arm.pools().values():
            stage, target = next(iter(pool.roles)).counted_as, _kv_target(pool)
            for own in entry["pools"].values():
                if own["stage"] == stage and target is not None:
                    own["kv_target"] = target


def _way(arm: Arm) -> Any:
    """What arms have in common that serve the same way."""
    stages = {
        stage: (
            pool.module,
            pool.shared,
            pool.profile.sha256,
            pool.convertible is not None,
            pool.block.speculative_config,
        )
        for stage, pool in arm.pools().items()
    }
    return stages, arm.block.admission


def _way_but_drafts(arm: Arm) -> dict[str, Any]:
    """All that an arm's block says, but its name, what is drafted and the room that a drafter leaves."""
    drafting = {"speculative_config", "num_gpu_blocks"}
    return arm.block.model_dump(
        exclude={"name": True, "accuracy": True, **dict.fromkeys(map(str, arm.pools()), drafting)}
    )


def _kv_target(pool: Pool) -> float | None:
    """The share of KV blocks in use that alone says how large an elastic pool is to be; None where something else does, too."""
    match pool.block.scaling:
        case KVUsage(target=target):
            return target
        case TokenVelocity(signal="in-flight", threshold_s=None, target=target):
            return target
    return None


def _moments(scenario: Scenario, requests: Requests) -> tuple[float, float, float]:
    """From when on requests come, when the first one arrives, and the last whose arrival is known, in seconds.

    Drawn ones come from 0 on, those of a trace from their first one on: its own clock may show anything then.
    """
    # Rounds that follow others have no arrival yet, which is 0.
    first_s, last_s = to_s(np.array([requests.arrival_ps[0], requests.arrival_ps.max()])).tolist()
    return first_s if scenario.workload.kind == "trace" else 0.0, first_s, last_s


def _stop_s(scenario: Scenario) -> float | None:
    """When the run is stopped; None if it goes on until all have finished."""
    return scenario.stop.limit_s if scenario.stop.when == "time" else None
