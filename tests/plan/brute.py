"""The smallest pools found the long way: every size in turn, every simulation to its end, metrics from the summary."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from sunsim.cluster.simulation import simulate
from sunsim.metrics import summarize
from sunsim.plan.bench import Bench
from sunsim.workload.requests import build_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sunsim.plan.search import Coordinate
    from sunsim.scenario import Arm, Scenario


def holds(scenario: Scenario, bench: Bench, sizes: dict[Coordinate, int]) -> bool:
    """Whether an arm of these sizes holds: the whole arm, all seeds, nothing ended early."""
    assert scenario.plan
    missed: dict[str, int] = {}
    requests: dict[str, int] = {}
    for i in range(scenario.plan.seeds):
        seeded = scenario.model_copy(update={"seed": scenario.seed + i})
        result = simulate(seeded, bench.sized(sizes), build_requests(seeded))
        summary = summarize(
            [result],
            slo=scenario.slo.model_dump(),
            warmup_s=scenario.measure.warmup_s,
            meta={},
            model_names=scenario.model_names,
        )
        (entry,) = summary["arms"].values()
        if entry["overloaded"]:
            return False
        for name, own in entry["models"].items():
            count = own["window_requests"]
            requests[name] = requests.get(name, 0) + count
            missed[name] = missed.get(name, 0) + count - round((own["slo_attainment"] or 0) * count)
    return all(requests[name] - missed[name] >= scenario.plan.attainment * requests[name] for name in requests)


def every_size(coordinates: list[Coordinate], total: int, most: int) -> Iterator[dict[Coordinate, int]]:
    """All sizes from 1 to `most` of these pools that add up to `total`."""
    for sizes in product(range(1, most + 1), repeat=len(coordinates)):
        if sum(sizes) == total:
            yield dict(zip(coordinates, sizes, strict=True))


def smallest(scenario: Scenario, arm: Arm, most: int, from_total: int | None = None) -> tuple[int, list[dict[Coordinate, int]]]:
    """The smallest total that holds, and every way to spread it that does."""
    bench = Bench(scenario, arm, [])
    coordinates = bench.coordinates()
    for total in range(from_total or len(coordinates), len(coordinates) * most + 1):
        found = [sizes for sizes in every_size(coordinates, total, most) if holds(scenario, bench, sizes)]
        if found:
            return total, found
    message = "nothing holds"
    raise AssertionError(message)
