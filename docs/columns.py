"""The tables of columns in docs/python.md, for ``python -m docs.refresh columns``."""

from __future__ import annotations

from collections.abc import Iterable

from sunsim.metrics import REGISTRY
from sunsim.records import REQUEST_COLUMNS

KINDS = {"text": "text", "s": "seconds", "count": "whole number"}
WORKER_COLUMNS = (
    "stage",
    "model",
    "gpus",
    "max_num_seqs",
    "num_gpu_blocks",
    "requests",
    "steps",
    "outside_measured",
    "preemptions",
    "utilisation",
    "mean_batch",
    "peak_batch",
    "mean_batch_share",
    "peak_places",
    "output_throughput_window",
    "mean_kv_occupancy",
    "peak_kv_occupancy",
)


def columns() -> dict[str, str]:
    """The tables, by the names of their blocks."""
    requests = ((column.name, KINDS[column.kind], column.meaning) for column in REQUEST_COLUMNS)
    workers = ((tag, REGISTRY[tag].unit, REGISTRY[tag].definition) for tag in WORKER_COLUMNS)
    return {
        "requests": _table(("column", "type", "meaning"), requests),
        "workers": _table(("column", "unit", "meaning"), workers),
    }


def _table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headers = tuple(headers)
    lines = [headers, ("---",) * len(headers), *((f"`{name}`", *rest) for name, *rest in rows)]
    return "".join(
        f"| {' | '.join(cell.replace('``', '`').replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )
