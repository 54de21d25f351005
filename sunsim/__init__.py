"""Discrete-event simulation of disaggregated multi-LLM serving."""

from sunsim.version import __version__

__all__ = ["__version__"]
