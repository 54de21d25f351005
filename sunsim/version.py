"""The version, and how the simulation loop runs; alone, so that whoever states it imports little else."""

import sys
from importlib.machinery import SOURCE_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from sunsim.visible import visible

__version__ = "0.1.0"

NOT_COMPILED = "not_compiled.txt"
"""Beside this file, of a wheel whose loop could not be compiled: why, in a line. `hatch_build.py` writes it."""


def loop() -> str:
    """How the simulation loop runs, ``compiled`` or ``plain Python``; the rows are the same."""
    spec = find_spec("sunsim.cluster.engine")
    assert spec
    return "plain Python" if str(spec.origin).endswith(tuple(SOURCE_SUFFIXES)) else "compiled"


def slow_loop(folder: Path = Path(__file__).parent) -> str:
    """What to say of an installed copy whose loop could not be compiled; empty for any other, and for a checkout."""
    try:
        why = (folder / NOT_COMPILED).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    return f"the loop is plain Python, up to 4x slower, as it could not be compiled ({why}): docs/speed.md"


def tell_of_slow_loop(*, quiet: bool) -> None:
    """Write that to stderr, where there is something to say and it is wanted."""
    if not quiet and (told := slow_loop()):
        sys.stderr.write(f"{visible(told)}\n")
