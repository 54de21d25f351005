"""One arm of a scenario, simulated: requests in, one row a request and one a worker out."""

import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd

from sunsim.clock import END_PS, to_ps, to_s
from sunsim.cluster.drafted import draft_columns
from sunsim.cluster.journey import Journeys, request_rows
from sunsim.cluster.rounds import session_columns
from sunsim.cluster.world import World
from sunsim.errors import InputError
from sunsim.latency.steps import WorkerTimes
from sunsim.records import ArmResult
from sunsim.scenario import Arm, Scenario
from sunsim.workload.requests import Requests


def as_they_are(times: WorkerTimes) -> WorkerTimes:
    return times


def simulate_arm(
    scenario: Scenario,
    arm: Arm,
    requests: Requests,
    progress: Callable[[float], None] | None = None,
    times_on: Callable[[WorkerTimes], WorkerTimes] = as_they_are,
    watch: Callable[[World], None] | None = None,
) -> ArmResult:
    """Serves `requests` with the pools of `arm`, one of the loaded `scenario`'s.

    Args:
        progress: called now and then with the share of requests that have arrived.
        times_on: what the workers' step times become: slower ones, or another host's.
        watch: gets the world before it starts; may set alarms in it, and end the run by raising something.

    Raises:
        InputError: requests are still under way where the clock ends.
        RuntimeError: the world is idle and requests are not finished, which cannot be.
    """
    stop = scenario.stop
    limit_ps = to_ps(stop.limit_s) if stop.when == "time" else None
    with _garbage_left_alone():
        world = World(scenario, arm, requests, progress, times_on)
        if watch:
            watch(world)
        world.env.run(limit_ps)
        if limit_ps is None and not world.env.idle:
            message = (
                f"{arm.name} has not finished after {to_s(END_PS):g} s, where the clock ends: must have more workers, "
            )
            message += (
                f"fewer requests, {'less time to think, ' if world.rounds else ''}or stop: {{when: time, limit_s: ...}}"
            )
            raise InputError(message, f"scenario {scenario.name}")
        pools = [pool for pool in (world.prefill, world.decode) if pool]
        records = [record for pool in pools for record in pool.records()]
        world.journeys.note_the_rest()
    prefill_names, decode_names = (pool.worker_names if pool else [] for pool in (world.prefill, world.decode))
    came = world.came(limit_ps)
    names = (prefill_names, decode_names)
    requests = replace(requests, arrival_ps=world.arrival_ps)
    rows = request_rows(arm.name, requests, came, world.journeys, names, world.course, limit_ps)
    if world.rounds and requests.sessions:
        further = session_columns(requests.sessions, world.rounds, came, remote=arm.prefill is not None)
        rows = pd.concat([rows, further], axis=1)
    if any(each.drafts for each in scenario.arms):
        emitted = world.course.emitted(requests.output_tokens)
        rows = pd.concat([rows, draft_columns(world.journeys.drafted, rows, came, emitted)], axis=1)
    if limit_ps is None and (stuck := int((rows["outcome"] == "unfinished").sum())):
        message = f"{arm.name} has nothing more to do, but {stuck} requests are unfinished"
        raise RuntimeError(message)  # a fault of the simulator, whatever was asked for
    sizes = pd.concat([pool.sizes() for pool in world.elastic], ignore_index=True) if world.elastic else None
    world.journeys = Journeys(0)  # the largest part of a world, which stays until garbage is next looked for
    return ArmResult(rows, records, sizes)


@contextmanager
def _garbage_left_alone() -> Generator[None]:
    """A run makes many objects and no cycles, so looking for cycles would only take time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
