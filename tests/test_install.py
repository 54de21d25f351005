"""What an installed copy has: the wheel, unpacked into an empty folder, works without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
SUNSIM = "from sunsim.cli import app; app()"
SHORT = ("--set", "workload.duration_s=3", "--set", "measure.warmup_s=1")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("no package index to get the build backend from")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(site: Path, folder: Path, code: str, *arguments: str) -> str:
    """Stdout of Python code that finds the installed copy first, run in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_under(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_wheel_holds_every_profile_scenario_and_table(installed: Path) -> None:
    for kind in ("profiles", "scenarios"):
        packed = files_under(installed / "sunsim" / "_data" / kind)
        assert packed == files_under(ROOT / kind)
        assert packed
    assert (installed / "sunsim/workload/tables/azure-conv.json").is_file()
    assert (installed / "sunsim/report/templates/report.html.j2").is_file()
    assert (installed / "profiler/models/llama-3.1-8b.json").is_file()
    assert (installed / "sunsim/py.typed").is_file()
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))


def test_wheel_holds_nothing_else(installed: Path) -> None:
    top = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"sunsim", "profiler", "plots"}


def test_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "import sunsim; print(sunsim.__file__)").strip()
    assert Path(where).is_relative_to(installed)
    assert "h100-80gb/llama-3.1-8b-bf16" in run(installed, tmp_path, SUNSIM, "profiles")
    shutil.copy(ROOT / "scenarios" / "zipf3.yaml", tmp_path)
    stdout = run(installed, tmp_path, SUNSIM, "run", "zipf3.yaml", *SHORT)
    assert "Files: results/zipf3/" in stdout
    assert (tmp_path / "results" / "zipf3" / "summary.json").is_file()
