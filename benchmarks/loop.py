"""Speed of the simulation loop on one core: ``python -m benchmarks.loop``.

One stream (``loop.yaml``) through the engine, and once through its step-by-step twin, which must give equal results.
The clock starts at the first arrival, when requests, profile and workers are made, and stops when the table of results
is there.
"""

from __future__ import annotations

import platform
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sunsim.cluster.engine import Engine
from sunsim.cluster.simulation import simulate
from sunsim.scenario import load_scenario
from sunsim.workload.requests import build_requests
from tests.cluster.stepwise import StepwiseEngine

if TYPE_CHECKING:
    import pandas as pd

    from sunsim.cluster.pool import MakeEngine
    from sunsim.scenario import Arm, Scenario
    from sunsim.workload.requests import Requests

STREAM = Path(__file__).with_name("loop.yaml")
REPEATS = 7


class Peer(NamedTuple):
    """Figures of another simulator: 4,411 requests of the Azure conversation trace, measured on 2 cores, Python 3.11."""

    name: str
    requests_per_s: int
    tokens_per_s: int
    peak_mb: int


PEERS = (
    Peer("simdistserve (SimPy), 4 prefill + 4 decode", 1_410, 365_000, 675),
    Peer("dynamo.replay 1.3.1 (Rust), 4 workers", 1_332, 345_000, 264),
    Peer("vidur, 4 replicas, metrics off", 1_329, 344_000, 3_618),
    Peer("BLIS (Go), 4 instances, whole process", 387, 100_000, 209),
)


class Run(NamedTuple):
    """One timed run."""

    seconds: float
    rows: pd.DataFrame
    steps: int


class Figures(NamedTuple):
    """What one arm's runs came to; the twin's are from one run."""

    arm: str
    steps: int
    seconds: float
    spread: float
    peak_mb: float
    twin_seconds: float
    equal: bool


def timed(scenario: Scenario, arm: Arm, requests: Requests, make_engine: MakeEngine) -> Run:
    """Simulates one arm of `scenario`."""
    started: list[float] = []

    def arrived(_share: float) -> None:
        if not started:
            started.append(time.perf_counter())

    result = simulate(scenario, arm, requests, arrived, make_engine)
    return Run(time.perf_counter() - started[0], result.rows, sum(worker.steps for worker in result.workers))


def peak_mb() -> float:
    """The most memory that this process has held, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(scenario: Scenario, requests: Requests) -> list[Figures]:
    """Both engines on each arm; the twins last, so that their memory does not count."""
    timings = [([timed(scenario, arm, requests, Engine) for _ in range(REPEATS)], peak_mb()) for arm in scenario.arms]
    figures = []
    for arm, (runs, memory_mb) in zip(scenario.arms, timings, strict=True):
        twin = timed(scenario, arm, requests, StepwiseEngine)  # type: ignore[arg-type]
        seconds = sorted(run.seconds for run in runs)
        median = statistics.median(seconds)
        equal = all(run.rows.equals(twin.rows) and run.steps == twin.steps for run in runs)
        spread = (seconds[-1] - seconds[0]) / median
        figures.append(Figures(arm.name, twin.steps, median, spread, memory_mb, twin.seconds, equal))
    return figures


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")


def say_row(name: str, requests_per_s: float, tokens_per_s: float, memory_mb: float | None) -> None:
    memory = "" if memory_mb is None else f"{memory_mb:,.0f}"
    say(f"{name:<48}{requests_per_s:>12,.0f}{tokens_per_s:>18,.0f}{memory:>10}".rstrip())


def main() -> int:
    """Prints the figures; 1 if a twin disagrees."""
    scenario = load_scenario(STREAM)
    requests = build_requests(scenario)
    count, tokens = len(requests), int(requests.output_tokens.sum())
    figures = measure(scenario, requests)
    say(
        f"{count:,} requests at 100 req/s to 4 decode workers, mean prompt {requests.prompt_tokens.mean():,.0f} and "
        f"output {tokens / count:,.0f} tokens"
    )
    say(f"one core, Python {platform.python_version()}, median of {REPEATS} runs; each twin once")
    say()
    say(f"{'':<48}{'requests/s':>12}{'output tokens/s':>18}{'peak MB':>10}")
    for found in figures:
        say_row(f"sunsim, {found.arm}", count / found.seconds, tokens / found.seconds, found.peak_mb)
        say_row("  its step-by-step twin", count / found.twin_seconds, tokens / found.twin_seconds, None)
    for peer in PEERS:
        say_row(peer.name, peer.requests_per_s, peer.tokens_per_s, peer.peak_mb)
    say()
    for found in figures:
        say(
            f"{found.arm}: {found.steps:,} steps, spread of the runs {found.spread:.0%}; "
            f"{found.twin_seconds / found.seconds:.1f} times as fast as the twin, "
            f"results {'equal' if found.equal else 'DIFFER'}"
        )
    return 0 if all(found.equal for found in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
