"""A point: every arm of a scenario simulated and reduced to its figures, in whatever process."""

import hashlib
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any

from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import requests_of, summary_of, window_of
from sunsim.points.outcome import Outcome, Row, attempt
from sunsim.scenario import Scenario

NESTED = {
    "limiting",
    "models",
    "outside_measured",
    "outside_measured_share",
    "pools",
    "prefill_headroom",
    "rounds",
    "steps",
    "workers",
}
"""What an arm's entry of a summary has besides single figures."""

OF_A_MODEL = (
    "requests",
    *(f"{stat}_{key}_ms" for key in ("ttft", "tpot") for stat in ("mean", "median", "p99")),
    "slo_attainment",
    "overloaded",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One simulation of all arms.

    Attributes:
        combination: of swept values, its number.
        seed: the scenario's.
    """

    combination: int
    seed: int
    scenario: Scenario

    def identity(self) -> dict[str, Any]:
        """All that its figures depend on, besides files and code."""
        return identity(self.scenario)


def identity(scenario: Scenario) -> dict[str, Any]:
    """All of a scenario that its figures depend on, as JSON has it."""
    with _ctrl_c_later():
        return {"scenario": scenario.document.model_dump(mode="json", exclude_none=True)}


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Ctrl-C has its effect after the block: pydantic takes it for a value that does not fit, and goes on."""
    if current_thread() is not main_thread():  # which Ctrl-C does not reach
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed and callable(before):
        before(pressed[0], None)


def key(identity: dict[str, Any]) -> str:
    """The name of a simulation: a hash of all that its figures depend on."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def outcome_of(point: Point) -> Outcome:
    """`outcome` of a point's scenario."""
    return outcome(point.scenario)


def outcome(scenario: Scenario) -> Outcome:
    """Simulates a point; whatever goes wrong there is its own fault, and the others go on."""
    return attempt(lambda: simulate_point(scenario))


def simulate_point(scenario: Scenario) -> list[Row]:
    """The figures of each arm of a loaded scenario.

    Raises:
        InputError: there are no requests, one cannot be served, or the measured window is empty.
    """
    requests = requests_of(scenario)
    arms = [simulate_arm(scenario, arm, requests) for arm in scenario.arms]
    summary = summary_of(scenario, arms, window_of(scenario, requests, arms))
    return [_row(name, entry, summary) for name, entry in summary["arms"].items()]


def _row(name: str, entry: Mapping[str, Any], summary: Mapping[str, Any]) -> Row:
    """An arm's single figures, under the names that `summary.json` has; those of the hot and the coldest model too."""
    row = {"arm": name} | {key: value for key, value in entry.items() if key not in NESTED}
    row["window_too_short"] = summary["window"]["too_short"]
    row["limiting_stage"] = entry["limiting"]["stage"]
    row["limiting_mean_wait_ms"] = entry["limiting"]["mean_wait_ms"]
    row["busiest_prefill_utilisation"] = (entry["prefill_headroom"] or {}).get("utilisation")
    for stage in ("prefill", "decode"):
        row[f"outside_measured_share_{stage}"] = entry["outside_measured_share"].get(stage)
    for kind in ("hot_model", "coldest_model"):
        row[kind] = summary[kind]
        row |= {f"{kind}_{tag}": entry["models"][summary[kind]][tag] for tag in OF_A_MODEL}
    return row
