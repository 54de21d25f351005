"""The code that decides what a simulation gives: a version number alone would let a changed checkout pass for another."""

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
DECIDING = (
    "__init__.py",
    "clock.py",
    "errors.py",
    "measured.py",
    "records.py",
    "roles.py",
    "simulate.py",
    "version.py",
    "visible.py",
    "accuracy/*.py",
    "cluster/**/*.py",
    "document/*.py",
    "latency/*.py",
    "metrics/*.py",
    "scenario/*.py",
    "workload/**/*.py",
    "workload/tables/*",
    "plan/__init__.py",
    "plan/conditions.py",
    "plan/portrait.py",
    "plan/probe.py",
    "plan/watch.py",
    "plan/windows.py",
    "points/outcome.py",
    "points/point.py",
    "sweep/__init__.py",
)
"""All that runs where a point is simulated. What plans, writes and draws is not among it: it takes points as they are."""


def deciding_files() -> list[Path]:
    """The files that `DECIDING` names, sorted."""
    return sorted({path for pattern in DECIDING for path in ROOT.glob(pattern) if path.is_file()})


@cache
def code_sha256() -> str:
    """Hash of these files, so that points of another code are not taken for this one's."""
    total = hashlib.sha256()
    for path in deciding_files():
        total.update(f"{path.relative_to(ROOT).as_posix()}\n".encode() + path.read_bytes())
    return total.hexdigest()
