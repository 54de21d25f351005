"""The key figures of every scenario at three digits, as they are kept in this folder; the twin guards the others.

``python -m tests.golden.figures`` writes them anew, after a change that was meant to change them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sunsim.run import prepare
from sunsim.scenario import Trace
from sunsim.simulate import result_of
from sunsim.workload.blocks import Conversations

FOLDER = Path(__file__).parent
SCENARIOS = sorted((FOLDER.parent.parent / "scenarios").glob("*.yaml"))

MOST_REQUESTS = 5_000
"""Requests times arms, about two seconds; a synthetic stream that is longer is cut short."""

KEYS = (
    "requests",
    "completed",
    "preemptions",
    "overloaded",
    "output_throughput_window",
    "output_throughput_per_gpu",
    "request_goodput",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "p99_tpot_ms",
)


def figures(file: Path) -> dict[str, dict[str, Any]]:
    """The figures of each arm of a scenario, and the stage that limits it."""
    scenario, requests = prepare(file, _shortened(file), None)
    summary = result_of(scenario, requests).summary
    return {
        name: {"limiting": entry["limiting"]["stage"], **{key: _rounded(entry[key]) for key in KEYS}}
        for name, entry in summary["arms"].items()
    }


def kept_in(file: Path) -> Path:
    """Where a scenario's figures are kept."""
    return FOLDER / f"{file.stem}.json"


def _shortened(file: Path) -> list[str]:
    scenario, requests = prepare(file, [], None)
    share = MOST_REQUESTS / (len(requests) * len(scenario.arms))
    workload = scenario.workload
    if share >= 1 or isinstance(workload, Trace):
        return []
    if workload.duration_s is None:
        return [f"workload.requests={int(share * len(requests))}"]
    # Sessions take most of the time to begin with, and the later rounds cost most.
    least = 1.2 if isinstance(workload, Conversations) else 2
    duration_s = max(share * workload.duration_s, least * scenario.measure.warmup_s)
    return [f"workload.duration_s={duration_s:.1f}"]


def _rounded(value: float | None) -> float | None:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def main() -> None:
    """Writes the figures of every scenario, and drops those of scenarios that are gone."""
    wanted = {kept_in(file) for file in SCENARIOS}
    for stale in set(FOLDER.glob("*.json")) - wanted:
        stale.unlink()
    for file in SCENARIOS:
        kept_in(file).write_text(json.dumps(figures(file), indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{kept_in(file)}\n")


if __name__ == "__main__":
    main()
