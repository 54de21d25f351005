"""The smallest pools found the long way: every size in turn, every simulation to its end, metrics from the summary."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from math import ceil

from sunsim.clock import to_ps
from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import summary_of, window_of
from sunsim.plan.bench import Bench
from sunsim.roles import Role
from sunsim.scenario import Arm, Scenario, build_requests
from sunsim.workload.requests import Requests


def holds(scenario: Scenario, bench: Bench, sizes: dict[Role, int]) -> bool:
    """Whether an arm of these sizes holds: the whole arm, all seeds, no simulation ended early."""
    assert scenario.plan
    seeds = [scenario.changed(seed=scenario.seed + i) for i in range(scenario.plan.seeds)]
    drawn = [build_requests(seeded) for seeded in seeds]
    spare = {}
    for i, name in enumerate(scenario.model_names):
        together = sum(_in_window(requests, i, scenario) for requests in drawn)
        spare[name] = together - ceil(scenario.plan.attainment * together - 1e-9)
    for seeded, requests in zip(seeds, drawn, strict=True):
        result = simulate_arm(seeded, bench.sized(sizes), requests)
        summary = summary_of(seeded, [result], window_of(seeded, requests))
        (entry,) = summary["arms"].values()
        for name, own in entry["models"].items():
            spare[name] -= own["window_requests"] - round((own["slo_attainment"] or 0) * own["window_requests"])
        if entry["overloaded"] or min(spare.values()) < 0:
            return False
    return True


def _in_window(requests: Requests, model: int, scenario: Scenario) -> int:
    own = requests.arrival_ps[requests.model == model]
    return int((own >= to_ps(scenario.measure.warmup_s)).sum())


def every_size(roles: list[Role], total: int) -> Iterator[dict[Role, int]]:
    """All ways to spread `total` GPUs over these pools, at least one each."""
    first, *others = roles
    if not others:
        yield {first: total}
        return
    for size in range(1, total - len(others) + 1):
        for rest in every_size(others, total - size):
            yield {first: size} | rest


def fewest(scenario: Scenario, arm: Arm) -> dict[Role, int]:
    """The first sizes that hold of those with the smallest total; every size with a smaller total has been tried."""
    bench = Bench(scenario, arm, [])
    for total in count(len(bench.roles)):
        for sizes in every_size(bench.roles, total):
            if holds(scenario, bench, sizes):
                return sizes
    raise AssertionError
