"""What an installed copy has: the wheel, unpacked into an empty folder, works without the checkout, compiled and plain."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sunsim.version import slow_loop
from tests.plan.small import PLAN, invoke, write_plan
from tests.synthetic import write_family
from tests.wheel import ROOT, unpacked_wheel

SUNSIM = "from sunsim.cli import app; app()"
SHORT = ("--set", "workload.duration_s=3", "--set", "measure.warmup_s=1")
SHOW = """
import sys
from pathlib import Path
from sunsim.cluster.simulation import simulate_arm
from sunsim.scenario import build_requests, load_scenario
from sunsim.version import loop

scenario = load_scenario(Path(sys.argv[1]), ["workload.requests=400"])
requests = build_requests(scenario)
print(loop())
for arm in scenario.arms:
    result = simulate_arm(scenario, arm, requests)
    sizes = None if result.sizes is None else result.sizes.to_json()
    print(result.rows.to_json(double_precision=15), result.workers, sizes)
"""

ONE = "sweep: {seeds: 1, over: {workload.arrivals.rate_rps: [20]}}\n"

DRAFTING = """
name: drafts
models: {count: 2}
workload:
  kind: synthetic
  requests: 400
  arrivals: {kind: poisson, rate_rps: 40}
  lengths:
    kind: lognormal
    prompt: {median_tokens: 200, sigma: 0.7, max_tokens: 2000}
    output: {median_tokens: 100, sigma: 0.9, max_tokens: 1000}
arms:
  - name: drafts
    decode: &decode
      profile: synthetic.json
      policy: shared
      workers: 1
      num_gpu_blocks: 1100
      speculative_config: {num_speculative_tokens: 3, synthetic_acceptance_rates: [0.75, 0.55, 0.4]}
  - name: by-batch
    prefill: {profile: synthetic.json, policy: isolated, workers: 2}
    decode:
      <<: *decode
      speculative_config:
        num_speculative_tokens: 3
        synthetic_acceptance_rates: [0.75, 0.55, 0.4]
        num_speculative_tokens_per_batch_size: [[1, 16, 3], [17, 32, 1], [33, 256, 0]]
"""
"""With drafts, and so few KV blocks that some requests start over."""


def run(site: Path, folder: Path, code: str, *arguments: str) -> str:
    """Stdout of Python code that finds the sunsim of `site` first, run in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_under(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_an_installed_copy(tmp_path: Path) -> None:
    """One test, because the wheel takes as long as all that is tried with it."""
    try:
        site = unpacked_wheel(tmp_path / "wheel")
    except RuntimeError as error:
        if "No matching distribution found for hatchling" in str(error):
            pytest.skip("no package index to get the build backend from")
        raise
    holds_what_it_needs_and_nothing_else(site)
    runs_outside_the_checkout(site, tmp_path)
    gives_the_rows_of_the_plain_loop(site, tmp_path)


def holds_what_it_needs_and_nothing_else(site: Path) -> None:
    for kind in ("profiles", "scenarios"):
        packed = files_under(site / "sunsim" / "_data" / kind)
        assert packed == files_under(ROOT / kind)
        assert packed
    assert (site / "sunsim/workload/tables/azure-conv.json").is_file()
    assert (site / "sunsim/report/templates/report.html.j2").is_file()
    assert (site / "profiler/models/llama-3.1-8b.json").is_file()
    assert (site / "sunsim/start/my-models.yaml").is_file()
    assert (site / "sunsim/estimate/cards.yaml").is_file()
    assert (site / "sunsim/estimate/errors.json").is_file()
    assert (site / "sunsim/py.typed").is_file()
    assert list(site.glob("*.dist-info/licenses/LICENSE"))
    top = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"sunsim", "profiler", "plots"}


def runs_outside_the_checkout(site: Path, folder: Path) -> None:
    where = run(site, folder, "import sunsim; print(sunsim.__file__)").strip()
    assert Path(where).is_relative_to(site)
    assert "h100-80gb/llama-3.1-8b-bf16" in run(site, folder, SUNSIM, "profiles")
    stdout = run(site, folder, SUNSIM, "run", "zipf3", *SHORT)
    assert "Files: results/zipf3/" in stdout
    assert (folder / "results" / "zipf3" / "summary.json").is_file()
    run(site, folder, SUNSIM, "init")
    assert run(site, folder, SUNSIM, "check", "my-models.yaml").startswith("ok: my-models: ")


def gives_the_rows_of_the_plain_loop(site: Path, folder: Path) -> None:
    write_family(folder, 1, 3)
    drafting = folder / "drafts.yaml"
    drafting.write_text(DRAFTING)
    shipped = ("benchmarks/loop.yaml", "scenarios/plan-day.yaml", "scenarios/routing.yaml")
    streams = [*(ROOT / stream for stream in shipped), drafting]
    plain, installed = (
        [run(where, folder, SHOW, str(stream)).splitlines() for stream in streams] for where in (ROOT, site)
    )
    headers = Path(sysconfig.get_path("include"), "Python.h").is_file()
    compiler = shutil.which("cc") or shutil.which("gcc")
    for expected, found in zip(plain, installed, strict=True):
        assert expected[0] == "plain Python"
        assert found[0] == ("compiled" if compiler and headers else "plain Python")
        assert found[1:] == expected[1:]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What builds the wheel, without hatchling."""
    interface = ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = dict  # type: ignore[attr-defined]  # any class that takes parameters
    parts = ("build", "builders", "builders.hooks", "builders.hooks.plugin")
    for name in ("hatchling", *(f"hatchling.{part}" for part in parts)):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hook(backend: Any) -> Any:
    """The wheel's build hook and its warnings."""
    made = backend.CompiledLoop()
    made.warnings = []
    made.app = SimpleNamespace(display_warning=made.warnings.append)
    return made


def test_what_compiled_modules_import_is_there_when_they_are_compiled(backend: Any, hook: Any) -> None:
    """A fresh environment has nothing else then: where numpy was missing, its types were, and the loop stayed plain.

    Tables are only made and given away: of pandas nothing has to be known.
    """
    packages = {each.partition(">")[0] for each in backend.get_requires_for_build_wheel()}
    imports = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
    imported = {name for module in hook.modules() for name in imports.findall(module.read_text())}
    assert "numpy" in imported
    assert imported - sys.stdlib_module_names - {"sunsim", "pandas"} <= packages


def test_what_cannot_be_compiled_stays_plain(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    build_data: dict[str, Any] = {"force_include": {}, "pure_python": True}
    hook.initialize("standard", build_data)
    hook.finalize("standard", build_data, "sunsim.whl")
    assert build_data["pure_python"]
    assert [*build_data["force_include"].values()] == ["sunsim/not_compiled.txt"]
    assert "not compiled" in hook.warnings[0]


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("", "exit code 1"),
        (
            "a.c:1:10: fatal error: Python.h: No such file\n 1 | #include\nCompileError: command 'cc' failed",
            "Python.h: No such file",
        ),
        ("Traceback\nCompileError: command 'cc' failed: No such file", "command 'cc' failed: No such file"),
    ],
)
def test_an_installed_copy_that_is_not_compiled_says_why(
    hook: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: str, why: str
) -> None:
    failing = tmp_path / "python"
    failing.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{printed}\nEND\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    build_data: dict[str, Any] = {"force_include": {}}
    hook.initialize("standard", build_data)
    ((made, place),) = build_data["force_include"].items()
    shutil.copy(made, tmp_path / Path(place).name)
    hook.finalize("standard", build_data, "sunsim.whl")
    assert f"the loop is plain Python, up to 4x slower, as it could not be compiled ({why}): " in slow_loop(tmp_path)


def test_a_checkout_says_nothing() -> None:
    assert slow_loop() == ""


@pytest.mark.parametrize(("verb", "simulates"), [("run", "result_of"), ("sweep", "simulated"), ("plan", "planned")])
def test_the_slow_loop_is_told_of_before_it_runs_and_never_on_stdout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str, simulates: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sunsim.version.slow_loop", lambda: "slow")
    module = import_module("sunsim.run" if verb == "run" else f"sunsim.{verb}.run")
    monkeypatch.setattr(module, simulates, interrupted)
    order = (verb, write_plan(tmp_path, ONE + PLAN), "--out", tmp_path / "out")
    nothing = "interrupted, nothing was written\n"
    assert invoke(*order) == (130, "", f"slow\n{nothing}")
    assert invoke(*order, "--quiet") == (130, "", nothing)


def test_an_editable_install_is_not_compiled(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    build_data: dict[str, Any] = {}
    hook.initialize("editable", build_data)
    hook.finalize("editable", build_data, "sunsim.whl")
    assert build_data == {}
