"""Discrete-event simulation of disaggregated multi-LLM serving.

    import sunsim

    scenario = sunsim.load("scenarios/zipf3.yaml")
    result = sunsim.simulate(scenario)
    result.requests, result.workers, result.summary, result.table()
    result.save("results/zipf3")

Bad input raises `sunsim.InputError`, whose text is the one line that the command line prints.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sunsim.errors import InputError

# These packages and modules are light; once they are loaded, their names here are the functions' for good.
from sunsim.plan import plan
from sunsim.simulate import simulate
from sunsim.sweep import sweep
from sunsim.version import __version__

if TYPE_CHECKING:
    from sunsim.result import Result, read
    from sunsim.scenario import Scenario
    from sunsim.scenario import load_scenario as load

__all__ = ["InputError", "Result", "Scenario", "__version__", "load", "plan", "read", "simulate", "sweep"]

_LATER = {
    "Result": ("sunsim.result", "Result"),
    "Scenario": ("sunsim.scenario", "Scenario"),
    "load": ("sunsim.scenario", "load_scenario"),
    "read": ("sunsim.result", "read"),
}
"""What takes half a second to import, and so is when it is first used."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module, attribute = _LATER[name]
    return getattr(import_module(module), attribute)
