"""The files that a run leaves: their names, and how the rows are written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from sunsim.metrics.rows import COLUMNS, TEXT_COLUMNS, ArmResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REQUESTS = "requests.parquet"
SUMMARY = "summary.json"
SCENARIO = "scenario.resolved.yaml"
PROVENANCE = ("schema_version", "sunsim_version", "scenario", "seed", "profiles")

SCHEMA = pa.schema(
    (name, pa.string() if name in TEXT_COLUMNS else pa.float64() if name.endswith("_s") else pa.int64())
    for name in COLUMNS
)


def write_requests(path: Path, arms: Sequence[ArmResult], summary: Mapping[str, Any]) -> None:
    """Write every arm's rows to one Parquet file: text as plain strings, a missing time as null.

    Equal rows give equal bytes. Where the rows came from is in the schema's metadata under `sunsim`.
    """
    origin = json.dumps({key: summary[key] for key in PROVENANCE if key in summary}, sort_keys=True)
    schema = SCHEMA.with_metadata({"sunsim": origin})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for arm in arms:
            columns = [pa.array(arm.rows[field.name], from_pandas=True).cast(field.type) for field in SCHEMA]
            writer.write_table(pa.table(columns, schema=schema))
