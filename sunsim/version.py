"""The version, alone, so that whoever states it imports nothing else."""

from importlib.machinery import SOURCE_SUFFIXES
from importlib.util import find_spec

__version__ = "0.1.0"


def loop() -> str:
    """How the simulation loop runs, ``compiled`` or ``plain Python``; the rows are the same."""
    spec = find_spec("sunsim.cluster.engine")
    assert spec
    return "plain Python" if str(spec.origin).endswith(tuple(SOURCE_SUFFIXES)) else "compiled"
