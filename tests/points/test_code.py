"""Which code throws kept points away: all that a simulation runs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sunsim.points.code import ROOT, deciding_files
from tests.plan.small import write_plan
from tests.sweep.small import write_sweep

# As a worker process does: it gets points as bytes, and simulates them.
WORKER = """
import pickle, sys
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        work, point = pickle.load(file)
    assert work(point).fault is None, work(point).fault
for name, module in sorted(sys.modules.items()):
    if name.split(".")[0] in ("sunsim", "plots", "profiler"):
        print(module.__file__)
"""
WRITER = """
import pickle, sys
from pathlib import Path
from sunsim.plan.bench import Bench
from sunsim.plan.probe import outcome_of as probed
from sunsim.plan.run import load
from sunsim.sweep.grid import load_grid
from sunsim.points.point import outcome_of
sweep, plan, out = sys.argv[1:]
scenario = load(Path(plan), (), None).scenario
bench = Bench(scenario, scenario.arms[1], [])
probes = [*bench.probes(bench.given, None), bench.portrait(bench.given)]
work = [(outcome_of, next(load_grid(Path(sweep)).points())), *((probed, probe) for probe in probes)]
for i, each in enumerate(work):
    Path(out, f"{i}.pickle").write_bytes(pickle.dumps(each))
"""


def test_all_that_a_simulation_loads_decides(tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    sweep, plan = write_sweep(tmp_path), write_plan(tmp_path / "plan")
    subprocess.run([sys.executable, "-c", WRITER, str(sweep), str(plan), str(tmp_path)], check=True)
    pickles = sorted(map(str, tmp_path.glob("*.pickle")))
    command = [sys.executable, "-c", WORKER, *pickles]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    deciding = {str(path) for path in deciding_files()}
    # Packages' own files hold but a line of text, unless they are among those that decide.
    empty = {str(path) for path in ROOT.rglob("__init__.py") if path.read_text().count("\n") <= 3}
    loaded = set(done.stdout.splitlines())
    assert {str(ROOT / "cluster" / "engine.py"), str(ROOT / "plan" / "watch.py")} <= loaded
    assert loaded - deciding - empty == set()


def test_what_writes_draws_and_searches_does_not() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in deciding_files()}
    for name in ("report/summary.py", "plan/search.py", "points/store.py", "files.py", "cli.py", "figures/run.py"):
        assert (ROOT / name).is_file()
        assert name not in names
    assert {"workload/traces/known.py", "cluster/engine.py", "plan/probe.py", "points/point.py"} <= names
    assert any(name.startswith("workload/tables/") for name in names)
