"""One plan for all tests that only look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plan.small import PLAN, invoke, write_plan


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder of a plan with all that belongs to it, its content, and what it printed."""
    folder = tmp_path_factory.mktemp("plan")
    file = write_plan(folder, PLAN.replace("sensitivity: false", "sensitivity: true, price_per_gpu_hour: 2"))
    code, stdout, stderr = invoke("plan", file, "--out", folder / "out", "--jobs", 2)
    assert (code, stderr) == (0, "")
    return folder / "out", json.loads((folder / "out" / "plan.json").read_text()), stdout
