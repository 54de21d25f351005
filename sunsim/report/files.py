"""The folder that a run leaves: complete, or not there at all."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from sunsim.errors import InputError
from sunsim.metrics.rows import COLUMNS, TEXT_COLUMNS, ArmResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REQUESTS = "requests.parquet"
SUMMARY = "summary.json"
SCENARIO = "scenario.resolved.yaml"
PROVENANCE = ("schema_version", "sunsim_version", "scenario", "seed", "profiles")

SCHEMA = pa.schema(
    (name, pa.string() if name in TEXT_COLUMNS else pa.float64() if name.endswith("_s") else pa.int64())
    for name in COLUMNS
)


@contextmanager
def result_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block ends well and disappears when it doesn't.

    Raises:
        InputError: `out` holds something else than a run's results, or cannot be written.
    """
    _refuse_foreign(out)
    _refuse_immovable(out)
    partial = out.parent / f".{out.name}.{os.getpid()}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as error:
        message = f"cannot be written ({error.strerror}), must be a folder for results"
        raise InputError(message, out) from error
    try:
        yield partial
        _put_in_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_immovable(out: Path) -> None:
    """A folder is put in its place by renaming, which would pull these from under whoever uses them."""
    what = "a mount point" if os.path.ismount(out) else "the current folder" if out.resolve() == Path.cwd() else None
    if what:
        message = f"is {what}, must be a folder inside it"
        raise InputError(message, out)


def _refuse_foreign(out: Path) -> None:
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()} if out.is_dir() else {""}
    ours = {REQUESTS, SUMMARY, SCENARIO}
    others = sorted(name for name in names - ours if not name.endswith((".png", ".html")))
    if names and (others or not names >= ours):
        message = "holds something else than the results of a run, must be a new folder or a run's results"
        raise InputError(message, out)


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename, with the folder that was there before moved aside first: a rename cannot replace a full one."""
    old = partial.with_suffix(".old")
    if out.exists():
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


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
