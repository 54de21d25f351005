"""The compiled loop gives the same rows as the plain one; needs a C compiler and mypyc, and takes half a minute."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sunsim.compile import compile_into

ROOT = Path(__file__).parents[2]
SHOW = """
import sys
from pathlib import Path
from sunsim.cluster import engine
from sunsim.cluster.simulation import simulate_arm
from sunsim.scenario import load_scenario
from sunsim.scenario import build_requests

scenario = load_scenario(Path(sys.argv[1]), ["workload.requests=400"])
requests = build_requests(scenario)
print("plain" if engine.__file__.endswith(".py") else "compiled")
for arm in scenario.arms:
    result = simulate_arm(scenario, arm, requests)
    print(result.rows.to_json(double_precision=15), result.workers)
"""


def output(path: Path) -> list[str]:
    """Which engine it is with this folder on the path, and what it gives."""
    command = [sys.executable, "-c", SHOW, str(ROOT / "benchmarks" / "loop.yaml")]
    done = subprocess.run(
        command, cwd=path, env=os.environ | {"PYTHONPATH": str(path)}, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc")) or not find_spec("mypyc"), reason="no C compiler or no mypyc"
)
def test_the_compiled_loop_gives_the_same_rows(tmp_path: Path) -> None:
    compile_into(tmp_path / "fast")
    plain, fast = output(ROOT), output(tmp_path / "fast")
    assert (plain[0], fast[0]) == ("plain", "compiled")
    assert fast[1:] == plain[1:]
