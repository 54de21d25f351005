"""The same sweep on a real Ray cluster of two node processes, one of which is killed on the way."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sunsim.errors import ClusterLostError
from sunsim.points.ray_cluster import _refuse_lost
from sunsim.points.store import POINTS
from sunsim.sweep import run as sweep_run
from sunsim.sweep.result import PICTURE, SUMMARY, TABLE
from tests.files.quick import in_this_process
from tests.plan.small import invoke
from tests.sweep.small import SCENARIO, write_sweep

pytest.importorskip("ray", reason="Ray is an optional extra")

ROOT = Path(__file__).parent.parent.parent
SWEEP_COMMAND = [sys.executable, "-c", "from sunsim.cli import app; app()", "sweep"]
SWEEP = "sweep: {seeds: 15, over: {workload.arrivals.rate_rps: [10, 20], models.popularity: [{kind: uniform}]}}\n"


def test_every_point_arrives_once_though_a_node_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_run, "run_local", in_this_process)
    long = SCENARIO.replace("requests: 12", "requests: 200")
    file = write_sweep(tmp_path, SWEEP, long)
    here, there = tmp_path / "here", tmp_path / "there"
    assert invoke("sweep", file, "--out", here, "--quiet") == (0, "", "")
    command = [sys.executable, "-m", "tests.points.on_ray", str(file), str(there)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1:] == ["whole: True; points: 30; arrivals: {1}; nodes: [2, 1]"]
    assert {path.name for path in (there / POINTS).iterdir()} == {path.name for path in (here / POINTS).iterdir()}
    for name in (TABLE, SUMMARY, PICTURE):
        assert (there / name).read_bytes() == (here / name).read_bytes()


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, SWEEP)
    command = [*SWEEP_COMMAND, str(file), "--out", str(tmp_path / "out")]
    address = ["--executor", "ray", "--address", "127.0.0.1:9"]
    done = subprocess.run([*command, *address], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "--address: no Ray cluster at 127.0.0.1:9 (Connection refused), must be the address of one: start it with ray "
        "start --head\n"
    )


def test_a_lost_head_says_how_to_go_on() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        head = f"127.0.0.1:{listening.getsockname()[1]}"
        _refuse_lost(head)
    with pytest.raises(ClusterLostError, match=f"head at {head} is gone .*, the same command goes on from there"):
        _refuse_lost(head)


def test_a_lost_head_ends_the_command_with_what_is_kept(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, SWEEP, SCENARIO.replace("requests: 12", "requests: 400"))
    command = [sys.executable, "-m", "tests.points.on_ray", str(file), str(tmp_path / "out"), "--lose-head"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "is gone (Connection refused): what is simulated is kept, the same command goes on" in done.stderr
    assert len(list((tmp_path / "out" / POINTS).iterdir())) >= 2
