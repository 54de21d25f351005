"""Points simulated in this process, no pictures, and one plan with all that belongs to it for the tests that only look at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from sunsim.plan import lab as lab_module
from sunsim.points.local import run_local
from tests.files.quick import be_quick
from tests.plan.small import PLAN, invoke, write_plan

draw = Figure.savefig


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder of a plan with all that belongs to it, its content, and what it printed. Made by two processes."""
    folder = tmp_path_factory.mktemp("plan")
    file = write_plan(folder, PLAN.replace("sensitivity: false", "sensitivity: true, price_per_gpu_hour: 2"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab_module, "run_local", run_local)
        patch.setattr(Figure, "savefig", draw)
        code, stdout, stderr = invoke("plan", file, "--out", folder / "out", "--jobs", 2)
    assert (code, stderr) == (0, "")
    return folder / "out", json.loads((folder / "out" / "plan.json").read_text()), stdout


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """What is planned does not hang on where it is simulated (test_lab.py), and processes and pictures take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        be_quick(patch)
        yield


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn all the same."""
    monkeypatch.setattr(Figure, "savefig", draw)
