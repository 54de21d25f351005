"""The same scenario and seed give the same bytes, whatever the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sunsim.cli import app
from tests.cluster.worlds import write_profile

ROOT = Path(__file__).parents[2]

SCENARIO = """\
name: twice
seed: 5
models: {count: 3, popularity: {kind: zipf, alpha: 1.0}}
workload:
  kind: synthetic
  duration_s: 4
  arrivals: {kind: gamma, rate_rps: 40, burstiness: 0.5}
  lengths: {kind: azure-conv}
arms:
  - name: isolated
    prefill: {profile: profile.json, policy: isolated, workers: 3, router: random}
    decode: {profile: profile.json, policy: isolated, workers: 5, router: power-of-two-choices}
  - name: shared
    prefill: {profile: profile.json, policy: shared, workers: 2}
    decode: {profile: profile.json, policy: shared, workers: 2, router: least-tokens, num_gpu_blocks: 1400}
"""


def run(file: Path, out: Path) -> bytes:
    """The rows that the command line leaves behind."""
    done = CliRunner().invoke(app, ["run", str(file), "--out", str(out), "--quiet"], catch_exceptions=False)
    assert done.exit_code == 0
    return (out / "requests.parquet").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario and, under `first`, what it gave."""
    path = tmp_path_factory.mktemp("determinism")
    write_profile(path, num_gpu_blocks=60_000)
    (path / "scenario.yaml").write_text(SCENARIO)
    run(path / "scenario.yaml", path / "first")
    return path


def test_a_process_with_another_hash_seed_writes_the_same_bytes(folder: Path) -> None:
    command = [sys.executable, "-c", "from sunsim.cli import app; app()", "run", str(folder / "scenario.yaml")]
    for hash_seed in ("1", "2"):
        out = folder / hash_seed
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        subprocess.run([*command, "--out", str(out), "--quiet"], cwd=ROOT, env=environment, check=True)
        assert (out / "requests.parquet").read_bytes() == (folder / "first" / "requests.parquet").read_bytes()


def test_the_resolved_scenario_reruns_to_the_same_bytes(folder: Path) -> None:
    again = run(folder / "first" / "scenario.resolved.yaml", folder / "rerun")
    assert again == (folder / "first" / "requests.parquet").read_bytes()
