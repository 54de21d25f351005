"""Metrics: pure functions of the rows of a run."""

from sunsim.metrics.registry import REGISTRY, Metric
from sunsim.metrics.rows import Window
from sunsim.metrics.summary import SCHEMA_VERSION, summarize, to_json

__all__ = [
    "REGISTRY",
    "SCHEMA_VERSION",
    "Metric",
    "Window",
    "summarize",
    "to_json",
]
