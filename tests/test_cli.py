"""The command line: what it imports, prints, leaves behind and exits with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from sunsim.cli import app
from sunsim.latency.profile import Profile
from sunsim.records import REQUEST_COLUMNS, ArmResult
from sunsim.version import __version__, loop
from tests.files.quick import be_quick
from tests.metrics.synthetic import toy_arm
from tests.plan.small import invoke
from tests.scenario_files import PROFILE, write_scenario
from tests.trace_files import write as write_requests

FILES = [
    "manifest.json",
    "requests.parquet",
    "scenario.resolved.yaml",
    "summary.json",
    "throughput.png",
    "tpot.png",
    "workers.png",
]
HEAVY = ("matplotlib", "scipy", "pandas", "simpy", "numpy")


def toy_simulate(scenario: Any, arm: Any, requests: Any, progress: Callable[[float], None]) -> ArmResult:
    """Stands in for the simulation."""
    for share in (0.0, 0.5, 1.0):
        progress(share)
    return toy_arm(arm.name, shared=arm.decode.shared, decode_workers=4, rate_rps=10.0)


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario whose simulation is a toy, in the current folder."""
    monkeypatch.setattr("sunsim.arms.simulate_arm", toy_simulate)
    monkeypatch.chdir(tmp_path)
    return write_scenario(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are files that are quickly written."""
    be_quick(monkeypatch)


def interrupted(*_: object) -> ArmResult:
    raise KeyboardInterrupt


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, sunsim.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_lists_the_verbs() -> None:
    code, stdout, _ = invoke("--help")
    assert code == 0
    assert all(verb in stdout for verb in ("run", "check", "profiles"))


def test_version() -> None:
    assert invoke("--version") == (0, f"sunsim {__version__}, {loop()} loop\n", "")


def test_run_leaves_a_complete_folder(scenario: Path, tmp_path: Path) -> None:
    code, stdout, stderr = invoke("run", scenario)
    out = tmp_path / "results" / "zipf3"
    assert (code, stderr) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert [path.name for path in out.parent.iterdir()] == ["zipf3"]
    assert "sun carries the same load as isolated" in stdout
    assert "Files: results/zipf3/" in stdout
    rows = pd.read_parquet(out / "requests.parquet")
    assert list(rows.columns) == [column.name for column in REQUEST_COLUMNS]
    assert list(rows["arm"].unique()) == ["isolated", "sun"]
    content = json.loads((out / "summary.json").read_text())
    assert content["seed"] == 7
    assert set(content["basis"]) == {"measured", "derived", "assumed"}


def test_run_twice_gives_equal_bytes_and_replaces_the_first(scenario: Path, tmp_path: Path) -> None:
    invoke("run", scenario, "--quiet")
    out = tmp_path / "results" / "zipf3"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert invoke("run", scenario, "--quiet") == (0, "", "")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.usefixtures("quick")
def test_json_is_the_summary(scenario: Path, tmp_path: Path) -> None:
    code, stdout, _ = invoke("run", scenario, "--json", "--out", tmp_path / "here", "--seed", 9)
    assert code == 0
    assert stdout == (tmp_path / "here" / "summary.json").read_text()
    assert json.loads(stdout)["seed"] == 9


@pytest.mark.usefixtures("quick")
def test_a_trace_s_requests_are_accounted_for(scenario: Path, tmp_path: Path) -> None:
    trace = write_requests(tmp_path, "azure")
    workload = f"workload={{kind: trace, format: azure, path: {trace}, requests: 3}}"
    code, stdout, _ = invoke("run", scenario, "--set", workload, "--set", "measure={}", "--json")
    assert code == 0
    assert json.loads(stdout)["trace"] == {
        "file": "azure.csv",
        "format": "azure",
        "requests_in_file": 5,
        "outside_window": 2,
        "dropped": {},
        "out_of_order": 0,
    }


def test_interrupt_leaves_nothing(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sunsim.arms.simulate_arm", interrupted)
    assert invoke("run", scenario) == (130, "", "interrupted, nothing was written\n")
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("quick")
def test_interrupt_keeps_the_results_of_before(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("run", scenario, "--quiet")
    out = tmp_path / "results" / "zipf3"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr("sunsim.arms.simulate_arm", interrupted)
    assert invoke("run", scenario)[0] == 130
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.usefixtures("quick")
def test_the_current_folder_may_take_the_results(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert invoke("run", scenario, "--out", ".", "--quiet") == (0, "", "")
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == FILES


def test_a_folder_of_something_else_is_not_replaced(scenario: Path, tmp_path: Path) -> None:
    code, stdout, stderr = invoke("run", scenario, "--out", tmp_path)
    assert (code, stdout) == (2, "")
    assert stderr == (
        f"{tmp_path}: holds something else than results of sunsim run, must be a new folder or one with such results\n"
    )
    assert scenario.exists()


@pytest.mark.usefixtures("quick")
def test_a_rerun_keeps_what_others_put_beside_the_results(scenario: Path, tmp_path: Path) -> None:
    invoke("run", scenario, "--quiet")
    out = tmp_path / "results" / "zipf3"
    (out / "own").mkdir()
    own = {name: out / name for name in ("notes.txt", "my-annotated-figure.png", "analysis.html", "own/data.csv")}
    for name, path in own.items():
        path.write_text(name)
    assert invoke("run", scenario, "--quiet", "--seed", 8) == (0, "", "")
    assert {name: path.read_text() for name, path in own.items()} == {name: name for name in own}
    assert json.loads((out / "summary.json").read_text())["seed"] == 8


def test_an_unwritable_place_is_bad_input(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, stderr = invoke("run", scenario, "--out", tmp_path / "file" / "below")
    assert code == 2
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nowhere.yaml"), "nowhere.yaml: there is no such file"),
        (("check", "scenario.yaml", "--set", "seeed=3"), "did you mean seed?"),
        (("check", "scenario.yaml", "--set", "measure.warmup_s=119.999999"), "must be below"),
        (("profiles", "show", "nothing"), "no profile nothing"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(scenario: Path, arguments: tuple[str, ...], said: str) -> None:
    code, stdout, stderr = invoke(*arguments)
    assert (code, stdout) == (2, "")
    assert said in stderr
    assert stderr.count("\n") == 1


def test_check_says_what_a_scenario_holds(scenario: Path) -> None:
    code, stdout, stderr = invoke("check", scenario)
    assert (code, stderr) == (0, "")
    assert stdout.startswith("ok: zipf3: 7,")
    assert stdout.endswith("for 4 models; GPUs by arm: isolated (6 prefill, 9 decode) and sun (4 decode)\n")


class Line:
    """Stands in for the latency model."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def decode_step_ms(self, batch: int, context_tokens: int) -> float:
        return 7.0 + 0.01 * batch + 4e-5 * context_tokens

    def prefill_step_ms(self, prompt_tokens: int, prompts: int = 1) -> float:
        return max(14.0, prompt_tokens / 45) * prompts


def shipped_profile(root: Path) -> None:
    """A profile of four points under `root`."""
    steps = {"step_ms_median": 9.0, "step_ms_mean": 9.0, "step_ms_p10": 9.0, "step_ms_p90": 9.0, "steps": 10}
    decode = [{"batch": b, "context_tokens": b * c, **steps} for b in (1, 8) for c in (300, 600)]
    prefill = [{"prompts": 1, "new_tokens": n, "attended_pairs": n * (n + 1) / 2, **steps} for n in (128, 1024)]
    content = PROFILE | {"decode_points": decode, "prefill_points": prefill, "date": "2026-11-24T10:00:00+00:00"}
    content["versions"] = {"vllm": "0.24.0"}
    (root / "test-gpu").mkdir(parents=True)
    (root / "test-gpu" / "test-8b-bf16.json").write_text(json.dumps(content))


def test_profiles_lists_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped_profile(tmp_path / "shipped")
    monkeypatch.setattr("sunsim.latency.profile.profiles_root", lambda: tmp_path / "shipped")
    monkeypatch.setattr("sunsim.profiles.LatencyModel", Line)
    code, stdout, stderr = invoke("profiles")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[-1].split() == [
        *("test-gpu/test-8b-bf16", "Test", "GPU", "0.24.0", "2026-11-24", "4", "2", "0", "24,000")
    ]
    figure = tmp_path / "surface.png"
    code, stdout, stderr = invoke("profiles", "show", "test-gpu/test-8b-bf16", "--out", figure)
    assert (code, stderr) == (0, "")
    assert stdout.endswith(f"Figure: {figure}\n")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_an_internal_error_is_not_hidden(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> ArmResult:
        raise ZeroDivisionError

    monkeypatch.setattr("sunsim.arms.simulate_arm", broken)
    result = CliRunner().invoke(app, ["run", str(scenario)])
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)
