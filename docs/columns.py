"""The tables of columns in docs/python.md, for ``python -m docs.refresh columns``."""

from __future__ import annotations

from collections.abc import Iterable

from sunsim.records import REQUEST_COLUMNS, WORKER_COLUMNS, Column

KINDS = {"text": "text", "s": "seconds", "count": "whole number", "number": "number", "counts": "whole numbers by name"}


def columns() -> dict[str, str]:
    """The tables, by the names of their blocks."""
    return {"requests": _table(REQUEST_COLUMNS), "workers": _table(WORKER_COLUMNS)}


def _table(columns: Iterable[Column]) -> str:
    cells = [("column", "type", "meaning"), ("---",) * 3]
    cells += [(f"`{column.name}`", KINDS[column.kind], column.meaning) for column in columns]
    return "".join(f"| {' | '.join(row).replace('``', '`')} |\n" for row in cells)
