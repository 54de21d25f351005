"""A day of more than a million requests on pools of fixed size and on elastic ones, each model's own and shared:
``python -m benchmarks.elastic.day [--plain] [--depends]``.

Every way gets what it needs to keep the same promise to each model, and no more: a fixed pool the fewest workers, an
elastic one the cheapest value of its policy's one knob. Knobs are sought on two parts of the day, a night's and a noon's,
and then held against the whole day, where they are made dearer, notch by notch, while that does not keep the promise.
All figures are the whole day's. With ``--depends`` it is days of workers that start faster, and of other numbers of
models. With ``--plain`` the loop is that of the checkout, not compiled.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from benchmarks.elastic.cells import Figures, cheapest, served, stretch
from benchmarks.elastic.wheel import ROOT, in_wheel
from sunsim.clock import to_s
from sunsim.measured import requests_of
from sunsim.metrics.rows import Window
from sunsim.points.local import cores
from sunsim.report.terminal import plain
from sunsim.report.text_table import TextTable
from sunsim.scenario import Scenario, load_scenario
from sunsim.workload.requests import Requests

DAY = ROOT / "scenarios" / "elastic-day.yaml"
WIDTH = 120
"""Columns."""
PROFILE = "h100-80gb/llama-3.1-8b-bf16"
HOUR_S = 3_600
PARTS_S = ((2 * HOUR_S, 4.5 * HOUR_S), (11.25 * HOUR_S, 14.25 * HOUR_S))
"""Of the day, on which knobs are sought."""
WARM_UP_S = 1_200
"""Of the day and of each part, before anything is measured: elastic pools begin at their largest."""
MOST = {"shared": 64, "isolated": 24}
"""Workers of a pool."""
NOTCH = 1.05
"""From one value of a knob to the next."""


class Knob(NamedTuple):
    """What a policy is tuned by: from its dearest to its cheapest value, and where the search begins."""

    name: str
    dearest: float
    cheapest: float
    begin: float

    def values(self) -> list[float]:
        """Notch by notch, three digits."""
        notches = int(np.log(self.cheapest / self.dearest) / np.log(NOTCH)) + 1
        return [float(f"{self.dearest * NOTCH**notch:.3g}") for notch in range(notches)]


KNOBS = {
    "schedule": Knob("rps_per_worker", 0.3, 3.0, 0.8),
    "utilisation": Knob("target", 0.04, 0.5, 0.15),
    "kv-usage": Knob("target", 0.08, 1.0, 0.3),
    "request-rate": Knob("rps_per_worker", 0.3, 3.0, 0.8),
    "token-velocity": Knob("target", 0.2, 1.0, 0.7),
    "oracle": Knob("target", 0.3, 1.3, 0.9),
}
"""Of each policy. A schedule knows the day's curve and not who is popular: as many workers as the hour's rate needs."""


@dataclass(frozen=True, slots=True)
class Day:
    """Another than the scenario's: how many models, and how long a worker takes to start."""

    models: int = 8
    start_s: float = 85.0


@dataclass(frozen=True, slots=True)
class Way:
    """Whose the pools are, ``isolated`` or ``shared``, and what sizes them: ``fixed``, or a policy."""

    pools: str
    policy: str
    day: Day = Day()


@dataclass(frozen=True, slots=True)
class Found:
    """What a way needs: its knob, or its workers, and the whole day's figures; `runs` of the whole day it took."""

    way: Way
    knob: Any
    figures: Figures
    runs: int


def scenario_of(way: Way, knob: Any, begin_s: float = 0.0) -> Scenario:
    """The day with one arm; of a part of it, the second at which that begins."""
    decode: dict[str, Any] = {"profile": PROFILE, "policy": way.pools}
    if way.policy == "fixed":
        decode["workers"] = knob
    else:
        most = MOST[way.pools]
        decode["workers"] = {"min": 1, "max": most}
        decode["scaling"] = {"kind": way.policy, "start_s": way.day.start_s, **_scaling(way, knob, begin_s)}
        decode["scaling"].setdefault("initial", most)
    arms = [{"name": f"{way.pools}-{way.policy}", "decode": decode}]
    return load_scenario(DAY, [f"models.count={way.day.models}", f"arms={json.dumps(arms)}"])


def _scaling(way: Way, knob: float, begin_s: float) -> dict[str, Any]:
    if way.policy == "schedule":
        return {"workers": schedule(way, knob, begin_s), "initial": None}
    signal = {"signal": "rate"} if way.policy == "token-velocity" else {}
    return {KNOBS[way.policy].name: knob, **signal}


def schedule(way: Way, rps_per_worker: float, begin_s: float) -> list[tuple[float, int]]:
    """Workers for each quarter of an hour, by the curve of the day: of the highest rate in it and until workers start.

    A model's own pool is sized for the most popular one, since nobody knows which that will be.
    """
    day = _base(way.day)
    curve, mean_rps = day.workload.arrivals.curve, day.workload.arrivals.rate_rps
    share = max(day.model_shares) if way.pools == "isolated" else 1.0
    entries: list[tuple[float, int]] = []
    for at_s in np.arange(0, 86_400 - begin_s, 900.0):
        inside_s = begin_s + at_s + np.linspace(0, 900 + 2 * way.day.start_s, 20)
        phase = 2 * np.pi * (inside_s - curve.peak_s) / curve.period_s
        rate = mean_rps * (1 + (curve.peak_to_mean - 1) * np.cos(phase).max())
        workers = min(max(int(np.ceil(share * rate / rps_per_worker)), 1), MOST[way.pools])
        if not entries or entries[-1][1] != workers:
            entries.append((float(at_s), workers))
    return entries


@lru_cache
def _base(day: Day) -> Scenario:
    return load_scenario(DAY, [f"models.count={day.models}"])


@lru_cache
def requests_on(day: Day) -> Requests:
    """All requests of a day."""
    return requests_of(_base(day))


def whole(way: Way, knob: Any, requests: Requests) -> Figures | None:
    """Of the whole day, or of some of its requests."""
    scenario = scenario_of(way, knob)
    end_s = float(to_s(requests_on(way.day).arrival_ps[-1]))
    return served(scenario, scenario.arms[0], requests, [Window(WARM_UP_S, end_s)])


def in_parts(way: Way, knob: float) -> bool:
    """Whether a knob keeps the promise in the parts of the day."""
    for begin_s, end_s in PARTS_S:
        scenario = scenario_of(way, knob, begin_s)
        requests = stretch(requests_on(way.day), begin_s, end_s)
        found = served(scenario, scenario.arms[0], requests, [Window(WARM_UP_S, end_s - begin_s)])
        if not (found and found.kept):
            return False
    return True


def tuned(way: Way) -> Found:
    """The cheapest that keeps the promise on the whole day."""
    if way.policy == "fixed":
        return _fixed(way)
    values = KNOBS[way.policy].values()
    begin = int(np.searchsorted(values, KNOBS[way.policy].begin))
    place = cheapest(values, begin, lambda knob: in_parts(way, knob))
    runs = 0
    for knob in reversed(values[: max(place, 0) + 1]):
        found, runs = whole(way, knob, requests_on(way.day)), runs + 1
        if found and found.kept:
            return Found(way, knob, found, runs)
    message = f"no {KNOBS[way.policy].name} of {way.policy} keeps the promise"
    raise ValueError(message)


def _fixed(way: Way) -> Found:
    requests = requests_on(way.day)
    if way.pools == "shared":
        workers: Any = _fewest(way, requests)
    else:
        one = Way("shared", "fixed", way.day)  # a model's own pool serves nobody else
        workers = {
            name: _fewest(one, requests.where(requests.model == number)) for number, name in enumerate(requests.models)
        }
    found = whole(way, workers, requests)
    assert found
    return Found(way, workers, found, 1)


def _fewest(way: Way, requests: Requests) -> int:
    numbers = range(MOST["shared"], 0, -1)
    begin = MOST["shared"] - int(2 + 30 * len(requests) / 1e6)

    def keeps(workers: int) -> bool:
        found = whole(way, workers, requests)
        return bool(found and found.kept)

    return numbers[cheapest(numbers, begin, keeps)]


def find(ways: list[Way]) -> list[Found]:
    """What each way needs, in processes beside one another."""
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        return list(pool.map(tuned, ways))


def table(found: list[Found]) -> TextTable:
    """A row a way."""
    first = found[0].figures.gpu_hours
    rows = []
    for one in found:
        own, figures = one.way, one.figures
        prefill = own.day.models * (86_400 - WARM_UP_S) / HOUR_S
        shown = sum(one.knob.values()) if isinstance(one.knob, dict) else one.knob
        name = "workers" if own.policy == "fixed" else KNOBS[own.policy].name
        rows.append(
            (
                f"{own.pools} {own.policy}",
                f"{name} {shown:g}",
                f"{figures.gpu_hours:,.0f}",
                f"{figures.gpu_hours / first:.2f}x",
                f"{figures.gpu_hours + prefill:,.0f}",
                f"{figures.peak_gpus}",
                f"{100 * figures.mean:.2f} %",
                f"{100 * figures.worst:.1f} %",
            )
        )
    headers = (
        "decode pools",
        "knob",
        "decode\nGPU-hours",
        "",
        "with prefill\nGPU-hours",
        "most\nGPUs",
        "SLO met\nmean",
        "SLO met\nworst 300 s",
    )
    return TextTable("", headers, rows, left=2)


def main(arguments: list[str]) -> int:
    """The command line."""
    if "--plain" not in arguments:
        return in_wheel("benchmarks.elastic.day", ["--plain", *arguments])
    began = time.monotonic()
    ways = [Way(pools, policy) for pools in ("isolated", "shared") for policy in ("fixed", *KNOBS)]
    found = find(ways)
    print(plain([table(found)], WIDTH))
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
