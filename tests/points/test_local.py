"""Points in processes of this machine and with files that have travelled: what is lost costs itself alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sunsim.inputs import Inputs, files, sha256
from sunsim.latency.profile import profiles_root
from sunsim.points.code import code_sha256
from sunsim.points.local import KILLED, SILENT, run_local
from sunsim.points.outcome import Outcome
from sunsim.points.point import Point, identity, outcome, outcome_of
from sunsim.points.ray_cluster import _home, outcome_elsewhere
from sunsim.roles import Stage
from sunsim.scenario import Scenario, load_scenario
from sunsim.sweep.grid import load_grid
from tests.scenario_files import write_scenario
from tests.sweep.small import write_sweep
from tests.trace_files import write as write_requests


def stop_oneself(point: Point) -> Outcome:
    """Work that never ends: its process stops itself, with all its threads."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return outcome_of(point)


def test_one_that_is_stopped_twice_has_itself_to_blame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sunsim.points.local.SILENT_LOOKS", 1)
    points = list(load_grid(write_sweep(tmp_path)).points())[:1]
    assert [outcome.fault for _, outcome in run_local(points, 1, stop_oneself)] == [SILENT]


def take_long(point: Point) -> Outcome:
    time.sleep(5.0)
    return outcome_of(point)


def test_one_that_takes_long_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sunsim.points.local.LOOK_S", 0.5)
    monkeypatch.setattr("sunsim.points.local.SILENT_LOOKS", 8)  # a process begins in less, also on a busy machine
    points = list(load_grid(write_sweep(tmp_path)).points())[:1]
    assert [outcome.fault for _, outcome in run_local(points, 1, take_long)] == [None]


class Deadly:
    """Ends the process that unpacks it, as one short of memory is ended."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_a_killed_process_costs_its_own_point_only(tmp_path: Path) -> None:
    points = list(load_grid(write_sweep(tmp_path)).points())[:6]
    deadly: Scenario = Deadly()  # type: ignore[assignment]
    points.insert(3, Point(9, 9, deadly))
    outcomes = {(point.combination, point.seed): outcome for point, outcome in run_local(points, 2, outcome_of)}
    assert len(outcomes) == 7
    assert outcomes.pop((9, 9)).fault == KILLED
    assert all(outcome.fault is None and len(outcome.rows) == 2 for outcome in outcomes.values())


UNGUARDED = """
import sys
from pathlib import Path
import sunsim

try:
    sunsim.sweep(Path(sys.argv[1]))
except sunsim.InputError as error:
    print(error)
    raise
"""


def test_a_script_that_asks_for_processes_as_it_is_imported_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), str(write_sweep(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("script: cannot be imported by the processes that simulate, must be")


def test_a_profile_that_has_gone_is_the_points_fault_in_one_line(tmp_path: Path) -> None:
    scenario = load_scenario(write_scenario(tmp_path))
    profile = Path(scenario.arms[0].pools()[Stage.DECODE].profile_name)
    profile.unlink()
    fault = outcome(scenario.changed(arms=scenario.document.arms)).fault
    assert fault == f"{profile}: cannot be read any more, must stay where it is while it is simulated with"


def test_profiles_links_and_traces_travel_to_where_a_point_runs(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, "sweep: {seeds: 1}\n")
    text = file.read_text()
    begin, end = text.index("  kind: synthetic"), text.index("slo:")
    trace_block = "  kind: trace\n  format: csv\n  path: trace.csv\n"
    file.write_text(f"{text[:begin]}{trace_block}transfer: {{measured: link.json}}\n{text[end:]}")
    shutil.copy(profiles_root() / "h100-80gb" / "links" / "nixl-nvlink.json", tmp_path / "link.json")
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,100,10\n0.1,200,5\n")
    (point,) = load_grid(file).points()
    expected = outcome(point.scenario)
    found = files(point.scenario)
    names = {name: f"{sha256(path)}{path.suffix}" for name, path in found.items()}
    contents = [path.read_bytes() for path in found.values()]
    assert [path.name for path in found.values()] == ["link.json", "profile.json", "trace.csv"]
    for path in found.values():
        path.unlink()
    assert expected.rows
    assert outcome_elsewhere(point.scenario.document, code_sha256(), names, *contents) == expected
    assert not _home().exists()
    other = outcome_elsewhere(point.scenario.document, "another", names, *contents)
    assert other.fault == "its node has another sunsim installed, must have the same as where the sweep was started"


def test_a_trace_may_be_called_json(tmp_path: Path) -> None:
    trace = write_requests(tmp_path, "mooncake").rename(tmp_path / "trace.json")
    workload = f"workload={{kind: trace, format: mooncake, path: {trace}}}"
    scenario = load_scenario(write_scenario(tmp_path), [workload, "measure={}"])
    assert Inputs().sha256(scenario)[str(trace)] == hashlib.sha256(trace.read_bytes()).hexdigest()


def test_ctrl_c_while_a_point_is_named_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (point, *_) = load_grid(write_sweep(tmp_path)).points()
    handler = signal.getsignal(signal.SIGINT)

    def interrupted(*_: object, **__: object) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(type(point.scenario.document), "model_dump", interrupted)
        with pytest.raises(KeyboardInterrupt):
            identity(point.scenario)
    assert signal.getsignal(signal.SIGINT) is handler
