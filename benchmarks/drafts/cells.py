"""One arm of ``scenarios/speculative.yaml`` at a rate: what its requests get, with drafts or without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import requests_of, summary_of, window_of
from sunsim.scenario import Scenario, load_scenario

SCENARIO = Path(__file__).parents[2] / "scenarios" / "speculative.yaml"
RATE = "workload.arrivals.rate_rps"
PLAIN = {"isolated-mtp": "isolated", "sun-mtp": "sun", "qsun-mtp": "qsun"}
"""Of an arm with drafts the one that is the same without."""
COLOCATED = {"colocated-mtp": "colocated"}
"""The same of GPUs that compute prompts, too."""
DRAFTS = 3
"""A step of a request in the arms that have some."""


@dataclass(frozen=True, slots=True)
class Cell:
    """An arm of the scenario at a rate of requests a second; `changes` are as those of ``--set``."""

    arm: str
    rate: float
    changes: tuple[str, ...] = ()
    seed: int = 7


class Figures(NamedTuple):
    """What the requests of an arm got.

    Attributes:
        tpot_ms, p99_tpot_ms: time per output token.
        e2el_ms: from arrival to last token, mean.
        itl_ms: mean gap between bursts.
        length: mean acceptance length; 1 without drafts.
        batch: requests decoding on the fullest worker that decodes, in the mean.
        outside: share of decode steps that are beyond what was measured.
    """

    tpot_ms: float
    p99_tpot_ms: float
    e2el_ms: float
    itl_ms: float
    length: float
    batch: float
    outside: float
    overloaded: bool


@cache
def scenario_at(rate: float, changes: tuple[str, ...], seed: int) -> Scenario:
    """The scenario with another rate and other changes."""
    return load_scenario(SCENARIO, [f"{RATE}={rate:g}", *changes], seed=seed)


def simulated(cell: Cell) -> Figures:
    """Simulates it."""
    scenario = scenario_at(cell.rate, cell.changes, cell.seed)
    (arm,) = (arm for arm in scenario.arms if arm.name == cell.arm)
    requests = requests_of(scenario)
    result = simulate_arm(scenario, arm, requests)
    summary = summary_of(scenario, [result], window_of(scenario, requests, [result]))
    entry = summary["arms"][cell.arm]
    decode = [worker["mean_batch"] for worker in entry["workers"].values() if worker["stage"] == "decode"]
    return Figures(
        entry["mean_tpot_ms"],
        entry["p99_tpot_ms"],
        entry["mean_e2el_ms"],
        entry["mean_itl_ms"],
        entry["mean_acceptance_length"] or 1.0,
        max(decode),
        entry["outside_measured_share"]["decode"] or 0.0,
        entry["overloaded"],
    )
