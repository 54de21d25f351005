"""Metrics: pure functions of the rows of a run."""

from sunsim.metrics.registry import REGISTRY
from sunsim.metrics.rows import Window
from sunsim.metrics.summary import summarize, to_json

__all__ = ["REGISTRY", "Window", "summarize", "to_json"]
