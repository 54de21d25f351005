"""`sunsim sweep` as a user runs it: what it leaves, prints and survives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sunsim.folder import MANIFEST
from sunsim.points.point import Point
from sunsim.points.store import POINTS, Store
from sunsim.run import prepare
from sunsim.simulate import result_of
from sunsim.sweep import run as sweep_run
from sunsim.sweep.result import PICTURE, SUMMARY, TABLE
from tests.files.quick import in_this_process
from tests.plan.small import invoke
from tests.sweep.small import write_sweep

SUNSIM = "from sunsim.cli import app; app()"
ROOT = Path(__file__).parent.parent.parent
MANY = "sweep: {seeds: 50, over: {workload.arrivals.rate_rps: [10, 20], workload.lengths.output_tokens: [5, 30]}}\n"
ONE = "sweep: {over: {workload.lengths.output_tokens: [5, 30]}}\n"


def started(*arguments: object) -> subprocess.Popen[str]:
    """`sunsim` in a process of its own, and of its own group, as a shell starts it."""
    command = [sys.executable, "-c", SUNSIM, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def kept(out: Path) -> int:
    return len(list((out / POINTS).glob("[!.]*.json")))


def wait_for(out: Path, points: int, process: subprocess.Popen[str]) -> None:
    """Until the sweep keeps so many."""
    until = time.monotonic() + 60
    while not out.exists() or kept(out) < points:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def bytes_of(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in (TABLE, SUMMARY, PICTURE)}


def refused(*_: object, **__: object) -> None:
    pytest.fail("a point ran again")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, str, str]]:
    """The folder of a small sweep, and what it printed."""
    folder = tmp_path_factory.mktemp("done")
    return folder / "out", invoke("sweep", write_sweep(folder), "--out", folder / "out")


def test_one_row_a_point_and_arm(done: tuple[Path, tuple[int, str, str]]) -> None:
    out, (code, _, stderr) = done
    assert (code, stderr) == (0, "")
    assert {path.name for path in out.iterdir()} == {POINTS, SUMMARY, TABLE, PICTURE, MANIFEST}
    frame = pd.read_parquet(out / TABLE)
    assert list(frame.columns[:4]) == ["workload.arrivals.rate_rps", "workload.lengths.output_tokens", "seed", "arm"]
    assert len(frame) == 4 * 4 * 2
    assert frame["workload.arrivals.rate_rps"].unique().tolist() == [10, 20.5]
    assert frame["seed"].dtype == "int64"
    assert (frame["completed"] == 12).all()
    assert frame["mean_tpot_ms"].between(5, 20).all()
    assert not frame.duplicated(["workload.arrivals.rate_rps", "workload.lengths.output_tokens", "seed", "arm"]).any()


def test_a_point_has_the_figures_of_a_run(done: tuple[Path, tuple[int, str, str]]) -> None:
    out, _ = done
    overrides = ["workload.arrivals.rate_rps=20.5", "workload.lengths.output_tokens=30"]
    scenario, requests = prepare(out.parent / "small.yaml", overrides, 5)
    entry = result_of(scenario, requests).summary["arms"]["sun"]
    frame = pd.read_parquet(out / TABLE)
    of = (frame["seed"] == 5) & (frame["workload.arrivals.rate_rps"] == 20.5) & (frame["arm"] == "sun")
    (row,) = frame[of & (frame["workload.lengths.output_tokens"] == 30)].to_dict("records")
    for tag in ("mean_tpot_ms", "p99_ttft_ms", "output_throughput_per_gpu", "slo_attainment", "decode_gpus"):
        assert row[tag] == entry[tag]
    assert row["hot_model_mean_tpot_ms"] == entry["models"][row["hot_model"]]["mean_tpot_ms"]


def test_it_prints_means_differences_and_what_they_say(done: tuple[Path, tuple[int, str, str]]) -> None:
    out, (_, stdout, _) = done
    assert stdout.startswith("small: 4 combinations of workload.arrivals.rate_rps and workload.lengths.output_tokens, ")
    assert "rate_rps 20.5, output_tokens 30" in stdout
    assert "    - isolated" in stdout
    assert " ±" in stdout
    assert "- sun against isolated over 4 combinations: mean TPOT " in stdout
    assert "95 % interval of the mean over 4 seeds" in stdout
    assert stdout.endswith(f"Files: {out}/ (points/, summary.json, sweep.parquet, sweep.png)\n")


def test_again_it_is_there_at_once(done: tuple[Path, tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    out, (_, stdout, _) = done
    before = bytes_of(out)
    monkeypatch.setattr(sweep_run, "run_local", refused)
    assert invoke("sweep", out.parent / "small.yaml", "--out", out) == (0, stdout, "")
    assert bytes_of(out) == before
    assert invoke("sweep", out.parent / "small.yaml", "--out", out, "--json")[1] == (out / SUMMARY).read_text()
    assert invoke("sweep", out.parent / "small.yaml", "--out", out, "--quiet") == (0, "", "")


def test_a_damaged_point_and_a_lost_table_are_made_again(
    done: tuple[Path, tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_run, "run_local", in_this_process)
    out, _ = done
    before = bytes_of(out)
    damaged = min((out / POINTS).iterdir())
    content = damaged.read_bytes()
    damaged.write_bytes(content[:100])
    (out / TABLE).unlink()
    said = (
        f"{out}/points: damaged, so simulated again: 1 point ({damaged.name})\n"
        f"{out}: changed since the run before, so written anew: {TABLE}\n"
    )
    assert invoke("sweep", out.parent / "small.yaml", "--out", out, "--quiet", "--jobs", 1) == (0, "", said)
    assert damaged.read_bytes() == content
    assert bytes_of(out) == before


def test_a_changed_profile_is_another_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_run, "run_local", in_this_process)
    file, out = write_sweep(tmp_path, ONE), tmp_path / "out"
    assert invoke("sweep", file, "--out", out, "--quiet")[0] == 0
    profile = tmp_path / "profile.json"
    profile.write_text(profile.read_text() + "\n")
    assert invoke("sweep", file, "--out", out, "--quiet")[0] == 0
    assert kept(out) == 4


def test_sigkill_and_resume_give_the_same_bytes(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, MANY)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    code, stdout, _ = invoke("sweep", file, "--out", whole, "--jobs", 2)
    assert code == 0
    assert "200 of 200 points" in stdout
    for points in (20, 90):
        process = started("sweep", file, "--out", cut, "--jobs", 1 if points == 20 else 3)
        wait_for(cut, points, process)
        process.kill()
        process.communicate()
        assert points <= kept(cut) < 200
    assert not (cut / TABLE).exists()
    assert invoke("sweep", file, "--out", cut, "--quiet") == (0, "", "")
    assert kept(cut) == 200
    assert bytes_of(cut) == bytes_of(whole)


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    process = started("sweep", write_sweep(tmp_path, MANY), "--out", tmp_path / "out", "--jobs", 2)
    wait_for(tmp_path / "out", 5, process)
    process.kill()
    process.communicate()
    until = time.monotonic() + 20
    # A process group is gone when its last process is.
    while time.monotonic() < until:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a worker is still there")


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started("sweep", write_sweep(tmp_path, MANY), "--out", out, "--jobs", 2)
    wait_for(out, 5, process)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    said = f"interrupted: {kept(out)} of 200 points are kept, the same command goes on from there"
    assert stderr.splitlines()[-1] == said
    assert 5 <= kept(out) < 200
    assert all(json.loads(path.read_text())["rows"] for path in (out / POINTS).iterdir())


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.25])
def test_ctrl_c_while_the_processes_start_is_one_line_too(tmp_path: Path, after_s: float) -> None:
    out = tmp_path / "out"
    process = started("sweep", write_sweep(tmp_path, MANY), "--out", out, "--jobs", 4)
    wait_for(out, 0, process)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    going_on = f"interrupted: {kept(out)} of 200 points are kept, the same command goes on from there\n"
    # The folder is there a moment before the points are known.
    assert stderr in (going_on, "interrupted, nothing was written\n")


def test_a_stopped_process_costs_no_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = "sweep: {seeds: 5, over: {workload.arrivals.rate_rps: [10, 20]}}\n"
    file, whole, out = write_sweep(tmp_path, sweep), tmp_path / "whole", tmp_path / "out"
    assert invoke("sweep", file, "--out", whole, "--quiet", "--jobs", 1)[0] == 0
    monkeypatch.setattr("sunsim.points.local.SILENT_LOOKS", 2)
    keep = Store.keep
    stopped: set[int] = set()

    def keep_and_stop(store: Store, point: Point, rows: Any) -> None:
        keep(store, point, rows)
        if not stopped:
            stopped.add(max(process.pid or 0 for process in active_children()))
            os.kill(max(stopped), signal.SIGSTOP)

    monkeypatch.setattr(Store, "keep", keep_and_stop)
    assert invoke("sweep", file, "--out", out, "--quiet", "--jobs", 2) == (0, "", "")
    assert stopped
    assert not active_children()
    assert bytes_of(out) == bytes_of(whole)


def test_failed_points_stop_nothing_else(tmp_path: Path) -> None:
    # No request within a second at the lowest rate, and two workers cannot serve three models.
    sweep = """\
sweep:
  over:
    workload.arrivals.rate_rps: [1.0e-9, 20]
    models.count: [2, 3]
    arms.isolated.decode.workers: [2, 3]
"""
    file = write_sweep(tmp_path, sweep)
    file.write_text(file.read_text().replace("requests: 12", "duration_s: 1"))
    code, stdout, stderr = invoke("sweep", file, "--out", tmp_path / "out")
    assert code == 1
    assert "3 of 8 points" in stdout
    assert stderr.startswith("5 of 8 points failed:\n- workload.arrivals.rate_rps = 1e-09, models.count = 2, ")
    assert "must be high enough for a request within 1 seconds" in stderr
    assert f"seed 3: {file}:17: arms.isolated.decode.workers is 2, must be at least 3" in stderr
    assert len(pd.read_parquet(tmp_path / "out" / TABLE)) == 3 * 2
    failed = json.loads((tmp_path / "out" / SUMMARY).read_text())["failed"]
    assert len(failed) == 5
    assert set(failed[0]) == {"values", "seed", "reason"}
    assert invoke("check", file)[1].endswith(
        "; sweep: 8 points, 8 combinations of values with each seed; 2 combinations are invalid and will fail\n"
    )


def test_where_every_point_fails_there_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_run, "run_local", in_this_process)
    file = write_sweep(tmp_path, "sweep: {over: {workload.arrivals.rate_rps: [1.0e-9]}}")
    file.write_text(file.read_text().replace("requests: 12", "duration_s: 1"))
    code, _, stderr = invoke("sweep", file, "--out", tmp_path / "out")
    assert code == 1
    assert stderr.startswith("1 of 1 points failed:\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MANIFEST, POINTS, SUMMARY]


def test_run_and_check_tell_of_the_sweep(tmp_path: Path) -> None:
    file = write_sweep(tmp_path)
    code, _, stderr = invoke("run", file, "--out", tmp_path / "run")
    assert code == 0
    assert stderr == f"This was the scenario as it stands; `sunsim sweep {file}` goes through its sweep block.\n"
    assert invoke("check", file)[1].endswith("; sweep: 16 points, 4 combinations of values with each seed\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--out", "."),
            ".: holds something else than results of sunsim sweep, must be a new folder or one with such results\n",
        ),
        (("--out", "small.yaml/below"), "small.yaml/below: cannot be written (Not a directory)"),
        (("--set", "sweep.seeds=0"), "--set: sweep.seeds is 0, must be at least 1\n"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path)
    code, stdout, stderr = invoke("sweep", "small.yaml", *options)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(said)
    assert stderr.count("\n") == 1


def test_without_ray_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sunsim.points.ray_cluster.find_spec", lambda _: None)
    code, stdout, stderr = invoke("sweep", write_sweep(tmp_path), "--out", tmp_path / "out", "--executor", "ray")
    assert (code, stdout) == (2, "")
    assert stderr == '--executor: ray needs the package of this name, must be installed: pip install "sunsim[ray]"\n'
    assert not (tmp_path / "out").exists()
