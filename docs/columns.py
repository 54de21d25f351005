"""The tables of columns in docs/python.md and of metrics in docs/results.md, for ``python -m docs.refresh columns``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sunsim.metrics.metric import Metric
from sunsim.metrics.occasional import CONVERTED, DRAFTS, POOLS, SESSIONS, SHED
from sunsim.records import (
    CACHE_COLUMNS,
    DRAFT_COLUMNS,
    DRAFT_WORKER_COLUMNS,
    REQUEST_COLUMNS,
    SESSION_COLUMNS,
    SIZE_COLUMNS,
    WORKER_COLUMNS,
    Column,
)
from sunsim.report.format import together

KINDS = {
    "text": "text",
    "s": "seconds",
    "count": "whole number",
    "number": "number",
    "counts": "whole numbers by name",
    "numbers": "list of numbers",
}


def columns() -> dict[str, str]:
    """The tables, by the names of their blocks."""
    return {
        "requests": _columns(REQUEST_COLUMNS),
        "session-requests": _columns(SESSION_COLUMNS),
        "draft-requests": _columns(DRAFT_COLUMNS),
        "workers": _columns(WORKER_COLUMNS),
        "session-workers": _columns(CACHE_COLUMNS),
        "draft-workers": _columns(DRAFT_WORKER_COLUMNS),
        "pools": _columns([Column("arm", "text", "The arm that the pool is of."), *SIZE_COLUMNS]),
        "session-metrics": _metrics(SESSIONS),
        "draft-metrics": _metrics(DRAFTS),
        "elastic-metrics": _metrics([*POOLS, SHED, CONVERTED]),
    }


def _columns(columns: Iterable[Column]) -> str:
    cells = [(f"`{column.name}`", KINDS[column.kind], column.meaning) for column in columns]
    return _table(("column", "type", "meaning"), cells)


def _metrics(metrics: Iterable[Metric]) -> str:
    """Those of one definition in one row."""
    alike = together(((metric.unit, metric.definition), f"`{metric.tag}`") for metric in metrics)
    return _table(("key", "unit", "meaning"), [(", ".join(tags), *told) for told, tags in alike.items()])


def _table(head: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    rows = [head, ("---",) * len(head), *cells]
    return "".join(f"| {' | '.join(row).replace('``', '`')} |\n" for row in rows)
