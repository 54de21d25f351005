"""Metrics: pure functions of the rows of a run."""

from sunsim.metrics.registry import REGISTRY, Metric, glossary
from sunsim.metrics.rows import COLUMNS, ArmResult, Window, WorkerRow
from sunsim.metrics.summary import SCHEMA_VERSION, summarize, to_json

__all__ = [
    "COLUMNS",
    "REGISTRY",
    "SCHEMA_VERSION",
    "ArmResult",
    "Metric",
    "Window",
    "WorkerRow",
    "glossary",
    "summarize",
    "to_json",
]
