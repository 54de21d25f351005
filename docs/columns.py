"""The tables of columns in docs/python.md: ``python -m docs.columns`` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sunsim.metrics import REGISTRY
from sunsim.records import REQUEST_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parent / "python.md"
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


def tables() -> dict[str, str]:
    """By the names of their marks."""
    requests = ((column.name, KINDS[column.kind], column.meaning) for column in REQUEST_COLUMNS)
    workers = ((tag, REGISTRY[tag].unit, REGISTRY[tag].definition) for tag in WORKER_COLUMNS)
    return {
        "requests": _table(("column", "type", "meaning"), requests),
        "workers": _table(("column", "unit", "meaning"), workers),
    }


def current(page: str) -> str:
    """The page with the tables as they should be."""
    for name, table in tables().items():
        marks = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        page = re.sub(f"(?s){marks[0]}.*{marks[1]}", lambda _, t=table, m=marks: f"{m[0]}\n{t}{m[1]}", page)  # type: ignore[misc]
    return page


def _table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headers = tuple(headers)
    lines = [headers, ("---",) * len(headers), *((f"`{name}`", *rest) for name, *rest in rows)]
    return "".join(
        f"| {' | '.join(cell.replace('``', '`').replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
