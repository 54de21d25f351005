"""A benchmark run with the simulation loop compiled, as ``pip install .`` makes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.wheel import unpacked_wheel

ROOT = Path(__file__).parents[1]


def with_sunsim_of(site: Path) -> dict[str, str]:
    """The environment of a process on one core that runs modules of this checkout with the sunsim of a folder."""
    path = os.pathsep.join([str(site), str(ROOT)])
    return os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1"}


def in_wheel(module: str, arguments: Sequence[str]) -> int:
    """Runs a module of this checkout with the sunsim of a wheel of it; returns its exit code."""
    with TemporaryDirectory() as folder:
        environment = with_sunsim_of(unpacked_wheel(Path(folder)))
        return subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, check=False
        ).returncode
