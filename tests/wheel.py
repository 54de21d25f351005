"""A wheel of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]


def unpacked_wheel(folder: Path) -> Path:
    """The folder, under `folder`, with all that pip would install.

    `.ci/run` builds the wheel beforehand, and says in SUNSIM_WHEEL in which folder it lies.

    Raises:
        RuntimeError: pip could not build it; it says why.
    """
    found = [*Path(os.environ.get("SUNSIM_WHEEL", folder)).glob("*.whl")]
    with ZipFile(found[0] if found else _built(folder)) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _built(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    (wheel,) = folder.glob("*.whl")
    return wheel
