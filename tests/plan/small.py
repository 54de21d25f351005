"""A plan of small simulations, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from typer.testing import CliRunner

from sunsim.cli import app
from sunsim.plan.probe import row_of
from sunsim.plan.run import load
from sunsim.plan.search import Search
from sunsim.scenario import Scenario
from tests.synthetic import synthetic_profile

T = TypeVar("T")

SCENARIO = """\
name: small
seed: 3
models: {count: 2, popularity: {kind: zipf, alpha: 1}}
workload:
  kind: synthetic
  duration_s: 3
  arrivals: {kind: poisson, rate_rps: 100}
  lengths: {kind: lognormal, prompt: {median_tokens: 300, sigma: 0.5, max_tokens: 2000}, output: {median_tokens: 40, sigma: 0.5, max_tokens: 200}}
slo: {ttft_ms: 300, tpot_ms: 8}
measure: {warmup_s: 0.5}
arms:
- name: isolated
  prefill: {profile: profile.json, policy: isolated, workers: 2}
  decode: {profile: profile.json, policy: isolated, workers: 2}
- name: sun
  prefill: {profile: profile.json, policy: isolated, workers: 2}
  decode: {profile: profile.json, policy: shared, router: least-tokens, workers: 1}
"""

PLAN = """\
plan: {seeds: 2, max_prefill_gpus: 8, max_decode_gpus: 8, sensitivity: false}
"""


def write_plan(folder: Path, plan: str = PLAN, scenario: str = SCENARIO) -> Path:
    """Writes the scenario and its profile into `folder`; the scenario's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.json").write_text(json.dumps(synthetic_profile()))
    path = folder / "small.yaml"
    path.write_text(scenario + plan)
    return path


def loaded(folder: Path, *overrides: str) -> Scenario:
    """The small scenario with its plan block."""
    return load(write_plan(folder), overrides, None).scenario


def simulated(search: Search[T]) -> T:
    """What a search finds, what it asks for simulated here and now."""
    rows: Any = None
    while True:
        try:
            probes = search.send(rows)
        except StopIteration as stop:
            found: T = stop.value
            return found
        rows = [row_of(probe) for probe in probes]


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr
