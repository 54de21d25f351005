"""Speed of the simulation loop on one core: ``python -m benchmarks.loop [--quick] [--plain]``.

One stream (``loop.yaml``) through the engine, at several sizes and numbers of workers, each in a process of its own, so
that peak memory is the whole process's; and at the smallest size through the step-by-step twin, which must give equal
results. The decode-only stream goes, too, through workers of a profile that was measured with drafts, without them and
with three. Times are the process's CPU seconds for a whole `simulate_arm`, from the drawn requests to the table of
results. The loop is that of a wheel, made as `pip install .` makes it; with ``--plain`` it is the checkout as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.wheel import ROOT, with_sunsim_of
from tests.wheel import unpacked_wheel

STREAM = Path(__file__).with_name("loop.yaml")
RATE_PER_WORKER = 25  # requests per second, as in the stream's file
SMALL, MEDIUM, LARGE = 4_000, 100_000, 1_000_000
DRAFTING = "h200-141gb/llama-3.1-8b-bf16"
RATES = (0.75, 0.55, 0.4)  # of accepted drafts
REPEATS = {SMALL: 25, MEDIUM: 3, LARGE: 1}  # other processes disturb, so the fastest of some counts


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


@dataclass(frozen=True)
class Case:
    """What one process measures: the best of `repeats` runs.

    Attributes:
        drafts: of each decode in a step of decode-only workers that have the profile `DRAFTING`; None: as in the stream.
    """

    arm: str
    requests: int
    workers: int = 4
    repeats: int = 1
    twin: bool = False
    drafts: int | None = None


class Figures(NamedTuple):
    """What it found."""

    seconds: float
    tokens: int
    steps: int
    peak_mb: float
    rows_sha256: str
    loop: str


def measure(case: Case) -> Figures:
    """Runs a case in this process."""
    import pandas as pd  # noqa: PLC0415 - only the processes that measure need any of this

    from sunsim.cluster.engine import Engine  # noqa: PLC0415
    from sunsim.cluster.simulation import simulate_arm  # noqa: PLC0415
    from sunsim.scenario import build_requests, load_scenario  # noqa: PLC0415
    from sunsim.version import loop  # noqa: PLC0415
    from tests.cluster.stepwise import StepwiseEngine  # noqa: PLC0415
    from tests.cluster.worlds import driven_by  # noqa: PLC0415

    index = ["decode-only", "with-prefill"].index(case.arm)
    overrides: dict[str, int | str] = {
        "workload.requests": case.requests,
        "workload.arrivals.rate_rps": RATE_PER_WORKER * case.workers,
        f"arms.{index}.decode.workers": case.workers,
    }
    if case.drafts is not None:
        overrides["arms.0.decode.profile"] = DRAFTING
    if case.drafts:
        config = {"num_speculative_tokens": case.drafts, "synthetic_acceptance_rates": list(RATES[: case.drafts])}
        overrides["arms.0.decode.speculative_config"] = json.dumps(config)
    scenario = load_scenario(STREAM, [f"{path}={value}" for path, value in overrides.items()])
    requests = build_requests(scenario)
    seconds = []
    for _ in range(case.repeats):
        began = time.process_time()
        with driven_by(StepwiseEngine if case.twin else Engine):
            result = simulate_arm(scenario, scenario.arms[index], requests)
        seconds.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    rows = hashlib.sha256(pd.util.hash_pandas_object(result.rows).to_numpy().tobytes()).hexdigest()
    steps = sum(worker.steps for worker in result.workers)
    return Figures(min(seconds), int(requests.output_tokens.sum()), steps, peak, rows, loop())


def measured(case: Case, site: Path) -> Figures:
    """Runs a case in a new process, with the sunsim of this folder."""
    command = [sys.executable, "-m", "benchmarks.loop", "--case", json.dumps(asdict(case))]
    done = subprocess.run(command, cwd=ROOT, env=with_sunsim_of(site), check=True, stdout=subprocess.PIPE, text=True)
    return Figures(*json.loads(done.stdout))


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_row(name: str, requests_per_s: float, tokens_per_s: float, memory_mb: float, times_twin: str = "") -> None:
    say(f"{name:<48}{requests_per_s:>12,.0f}{tokens_per_s:>18,.0f}{memory_mb:>10,.0f}{times_twin:>8}".rstrip())


def say_figures(case: Case, found: Figures, twin: Figures) -> None:
    drafts = "" if case.drafts is None else f" {case.drafts or 'no'} drafts,"
    name = f"sunsim, {case.arm},{drafts} {case.requests:,} requests"
    ratio = (case.requests / found.seconds) / (SMALL / twin.seconds)
    say_row(name, case.requests / found.seconds, found.tokens / found.seconds, found.peak_mb, f"{ratio:.0f}")


def compare(site: Path, *, quick: bool) -> int:
    """Prints the figures; 1 if a twin disagrees."""
    equal = []
    sizes = [SMALL, MEDIUM] if quick else [SMALL, MEDIUM, LARGE]
    say(f"{'':<48}{'requests/s':>12}{'output tokens/s':>18}{'peak MB':>10}{'x twin':>8}")
    for arm, drafts in (("decode-only", None), ("with-prefill", None), ("decode-only", 0), ("decode-only", 3)):
        twin = measured(Case(arm, SMALL, twin=True, drafts=drafts), ROOT)
        for size in sizes if (arm, drafts) == ("decode-only", None) else sizes[:1]:
            case = Case(arm, size, repeats=REPEATS[size], drafts=drafts)
            found = measured(case, site)
            say_figures(case, found, twin)
            if size == SMALL:
                equal.append((found.rows_sha256, found.steps) == (twin.rows_sha256, twin.steps))
        say_row(
            "  its step-by-step twin, 4,000 requests", SMALL / twin.seconds, twin.tokens / twin.seconds, twin.peak_mb
        )
    for peer in PEERS:
        say_row(peer.name, peer.requests_per_s, peer.tokens_per_s, peer.peak_mb)
    say()
    for workers in (4, 16, 64):
        seconds = measured(Case("decode-only", MEDIUM, workers, REPEATS[MEDIUM]), site).seconds
        say(f"{workers:>2} workers, {MEDIUM:,} requests: {seconds / MEDIUM * 1e6:.1f} microseconds a request")
    say()
    say(f"one core, Python {platform.python_version()}, {found.loop} loop, CPU time")
    say(f"results {'equal to the twins' if all(equal) else 'DIFFER from a twin'}")
    return 0 if all(equal) else 1


def main() -> int:
    """Compares, or measures the one case that it is told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop")
    parser.add_argument("--quick", action="store_true", help="leave out the million requests")
    parser.add_argument("--plain", action="store_true", help="the checkout as it is instead of a wheel")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        say(json.dumps(measure(Case(**json.loads(arguments.case)))))
        return 0
    if arguments.plain:
        return compare(ROOT, quick=arguments.quick)
    with TemporaryDirectory() as folder:
        return compare(unpacked_wheel(Path(folder)), quick=arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
