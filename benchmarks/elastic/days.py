"""The day of `benchmarks.elastic.day`, days like it, and the ways to serve them, as scenarios of one arm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks.wheel import ROOT
from sunsim.measured import requests_of
from sunsim.scenario import Scenario, load_scenario
from sunsim.workload.blocks import Closed, Synthetic
from sunsim.workload.rates import rate_of
from sunsim.workload.requests import Requests
from sunsim.workload.shares import shares_over

DAY = ROOT / "scenarios" / "elastic-day.yaml"
PROFILE = "h100-80gb/llama-3.1-8b-bf16"
DAY_S, HOUR_S, QUARTER_S = 86_400, 3_600, 900
FLIP_EVERY_S = 3 * HOUR_S
ANY_ARM = json.dumps([{"name": "any", "decode": {"profile": PROFILE, "policy": "shared", "workers": 1}}])
POOLS = ("isolated", "shared")
MOST = {"shared": 64, "isolated": 24}
"""Workers of a pool."""
NOTCH = 1.05
"""From one value of a knob to the next."""


class Knob(NamedTuple):
    """What a policy is tuned by: from its dearest to its cheapest value, and where the search begins, of whose pools."""

    name: str
    dearest: float
    cheapest: float
    begin: dict[str, float]

    def values(self) -> list[float]:
        """Notch by notch, three digits."""
        notches = int(np.log(self.cheapest / self.dearest) / np.log(NOTCH)) + 1
        return [float(f"{self.dearest * NOTCH**notch:.3g}") for notch in range(notches)]


KNOBS = {
    "schedule": Knob("rps_per_worker", 0.2, 3.0, {"isolated": 0.864, "shared": 0.953}),
    "utilisation": Knob("target", 0.04, 0.5, {"isolated": 0.111, "shared": 0.129}),
    "kv-usage": Knob("target", 0.08, 1.0, {"isolated": 0.223, "shared": 0.246}),
    "request-rate": Knob("rps_per_worker", 0.2, 3.0, {"isolated": 1.16, "shared": 1.1}),
    "token-velocity": Knob("target", 0.2, 1.0, {"isolated": 0.645, "shared": 0.585}),
    "oracle": Knob("target", 0.3, 1.3, {"isolated": 0.655, "shared": 0.655}),
}
"""Of each policy. A search begins where it ended once, so that it is short."""


@dataclass(frozen=True, slots=True)
class Day:
    """The scenario's, or one like it.

    Attributes:
        models: how many.
        start_s: that a worker takes to start.
        flip_s: that shares take to move.
        drawn: whether they move in an order that is drawn each time, or on by one model.
    """

    models: int = 8
    start_s: float = 85.0
    flip_s: int = 900
    drawn: bool = False

    def popularity(self) -> dict[str, Any]:
        """Shares by Zipf's law that move every three hours."""
        steps = [{"at_s": 0, "weights": self._weights(0)}]
        for turn in range(1, DAY_S // FLIP_EVERY_S):
            at_s = turn * FLIP_EVERY_S
            if self.flip_s:
                steps.append({"at_s": at_s, "weights": self._weights(turn - 1)})
            steps.append({"at_s": at_s + self.flip_s, "weights": self._weights(turn)})
        return {"kind": "steps", "between": "linear" if self.flip_s else "jump", "steps": steps}

    def _weights(self, turn: int) -> dict[str, float]:
        places = (np.arange(self.models) - turn) % self.models
        if self.drawn:
            places = np.random.default_rng(turn).permutation(self.models)
        return {f"m{number + 1}": round(1 / (1 + int(place)), 4) for number, place in enumerate(places)}


@dataclass(frozen=True, slots=True)
class Way:
    """Whose the pools are, ``isolated`` or ``shared``, and what sizes them: ``fixed``, or a policy."""

    pools: str
    policy: str
    day: Day = Day()


def scenario_of(way: Way, knob: Any) -> Scenario:
    """The day with one arm."""
    decode: dict[str, Any] = {"profile": PROFILE, "policy": way.pools}
    if way.policy == "fixed":
        decode["workers"] = knob
    else:
        most = MOST[way.pools]
        decode["workers"] = {"min": 1, "max": most}
        decode["scaling"] = {"kind": way.policy, "start_s": way.day.start_s, **_scaling(way, knob)}
        decode["scaling"].setdefault("initial", most)
    return _loaded(way.day, json.dumps([{"name": f"{way.pools}-{way.policy}", "decode": decode}]))


def _scaling(way: Way, knob: float) -> dict[str, Any]:
    if way.policy == "schedule":
        return {"workers": schedule(way, knob), "initial": None}
    signal = {"signal": "rate"} if way.policy == "token-velocity" else {}
    return {KNOBS[way.policy].name: knob, **signal}


def schedule(way: Way, rps_per_worker: float) -> list[tuple[float, int]] | dict[str, Any]:
    """Workers for each quarter of an hour, for the highest rate in it and while others start; of each model's own pools.

    It is made by one who knows the curve of the day, and when each model is popular, but not when bursts come.
    """
    day = _loaded(way.day)
    workload = day.workload
    assert isinstance(workload, Synthetic)
    assert workload.popularity
    assert not isinstance(workload.arrivals, Closed)
    rate = rate_of(workload.arrivals, DAY_S)
    shares = shares_over(workload.popularity, day.model_names, day.model_shares, None, DAY_S)

    def entries(model: int | None) -> list[tuple[float, int]]:
        found: list[tuple[float, int]] = []
        for at_s in np.arange(0.0, DAY_S, QUARTER_S):
            inside_s = np.linspace(at_s, min(at_s + QUARTER_S + 2 * way.day.start_s, DAY_S), 20)
            rps = rate.at(inside_s) * (1.0 if model is None else shares.at(inside_s)[:, model])
            workers = min(max(int(np.ceil(rps.max() / rps_per_worker)), 1), MOST[way.pools])
            if not found or found[-1][1] != workers:
                found.append((float(at_s), workers))
        return found

    if way.pools == "shared":
        return entries(None)
    return {name: entries(number) for number, name in enumerate(day.model_names)}


@lru_cache(maxsize=4)
def _loaded(day: Day, arms: str = ANY_ARM) -> Scenario:
    popularity = json.dumps(day.popularity())
    return load_scenario(DAY, [f"models.count={day.models}", f"workload.popularity={popularity}", f"arms={arms}"])


@lru_cache
def requests_on(day: Day) -> Requests:
    """All requests of a day."""
    return requests_of(_loaded(day))
