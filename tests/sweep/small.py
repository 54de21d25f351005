"""A sweep of small points, for tests."""

from __future__ import annotations

import json
from pathlib import Path

from tests.synthetic import synthetic_profile

SCENARIO = """\
name: small
seed: 3
models: {count: 2}
workload:
  kind: synthetic
  requests: 12
  arrivals: {kind: poisson, rate_rps: 20}
  lengths: {kind: fixed, prompt_tokens: 200, output_tokens: 20}
slo: {tpot_ms: 25}
arms:
- {name: isolated, decode: {profile: profile.json, policy: isolated, workers: 2}}
- {name: sun, decode: {profile: profile.json, policy: shared, workers: 1}}
"""

SWEEP = """\
sweep:
  seeds: 4
  over:
    workload.arrivals.rate_rps: [10, 20.5]
    workload.lengths.output_tokens: [5, 30]
"""


def write_sweep(folder: Path, sweep: str = SWEEP, scenario: str = SCENARIO) -> Path:
    """Writes the scenario and its profile into `folder`; the scenario's path."""
    (folder / "profile.json").write_text(json.dumps(synthetic_profile()))
    path = folder / "small.yaml"
    path.write_text(scenario + sweep)
    return path


def lines(path: Path) -> list[str]:
    """The file's lines, from number 1 on."""
    return ["", *path.read_text().splitlines()]
