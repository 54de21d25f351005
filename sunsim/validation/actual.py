"""Actual runs: one Parquet file each, a row a request, and what it ran on in the file's metadata.

``python -m profiler replay`` writes them; the columns are `COLUMNS` (seconds since the start of the stream), the
metadata is JSON under the key ``sunsim`` (`RunMeta`). `NAME.steps.parquet` beside `NAME.parquet`, if there, has the
engine's own account of its steps (`STEP_COLUMNS`; and `decode_requests` and `chunk_attended_pairs`, without which steps
with a prompt's chunk cannot be checked).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sunsim.errors import InputError
from sunsim.validation.served import Served

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sunsim.metrics.rows import Floats

SCHEMA_VERSION = 1
STEPS_SUFFIX = ".steps.parquet"
TIMES = ("submit_s", "queued_s", "scheduled_s", "first_token_s", "last_token_s")
CLIENT_TIMES = ("client_first_token_s", "client_last_token_s")
COUNTS = ("prompt_tokens", "output_tokens", "preemptions")
COLUMNS = ("request_id", "arrival_s", *TIMES, *CLIENT_TIMES, *COUNTS)
STEP_COLUMNS = ("step_s", "requests", "context_tokens", "chunk_tokens")


class _Meta(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class RunEngineArgs(_Meta):
    """The engine arguments that the simulated worker takes over; `kv_connector`: None on an ordinary worker."""

    max_num_seqs: int = Field(ge=1)
    max_num_batched_tokens: int = Field(ge=1)
    kv_connector: str | None = None


class SameStartProfile(_Meta):
    """The profile that was measured in the same engine start."""

    sha256: str


class RunMeta(_Meta):
    """Where a run comes from. `stream` is the stream's name, `engine_start` an id that runs of one start share."""

    schema_version: Literal[1]
    role: Literal["decode", "prefill", "colocated"]
    stream: str
    csv_sha256: str | None = None
    gpu: str
    card: str
    host: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    model: str
    variant: str
    engine_args: RunEngineArgs
    num_gpu_blocks: int = Field(ge=2)
    block_size: int = Field(ge=1)
    date: str | None = None
    engine_start: str | int | float | None = None
    profile: SameStartProfile | None = None

    @property
    def stream_key(self) -> str:
        """What runs of one stream have in common: the hash of its file if recorded, else its name."""
        return self.csv_sha256 or self.stream


@dataclass(frozen=True, slots=True)
class StepRows:
    """The engine's steps, [n].

    Attributes:
        step_s: duration, seconds.
        batch: requests that computed one token each; `context_tokens` is what they attended to.
        chunk_tokens: prompt tokens computed beside them.
        attended_pairs: (query, key) pairs of these; None if not recorded.
    """

    step_s: Floats
    batch: Floats
    context_tokens: Floats
    chunk_tokens: Floats
    attended_pairs: Floats | None


@dataclass(frozen=True, slots=True)
class ActualRun:
    """One run as read; `request_ids` belong to the rows of `served`."""

    name: str
    path: Path
    meta: RunMeta
    request_ids: list[str]
    served: Served
    steps: StepRows | None


def read_run(path: Path) -> ActualRun:
    """Reads and checks a run.

    Raises:
        InputError: the file is not a run, lacks a column, is empty, or holds what cannot be: a missing time, or a token
            before its request.
    """
    table = _read(path)
    meta = _meta(path, table)
    columns = _numbers(path, table, (*TIMES, *CLIENT_TIMES, *COUNTS), "a run's requests")
    _present(path, table, COLUMNS)
    order = np.argsort(columns["submit_s"], kind="stable")
    ordered = {name: values[order] for name, values in columns.items()}
    counts = {name: ordered[name].astype(np.int64) for name in COUNTS}
    if meta.role == "prefill":
        # A prefill worker emits one token, whatever the stream asks for.
        counts["output_tokens"] = np.minimum(counts["output_tokens"], 1)
    served = Served(
        **counts,
        submit_s=ordered["submit_s"],
        queued_s=ordered["queued_s"],
        scheduled_s=ordered["scheduled_s"],
        first_s=ordered["first_token_s"],
        last_s=ordered["first_token_s"] if meta.role == "prefill" else ordered["last_token_s"],
        client_first_s=ordered["client_first_token_s"],
        client_last_s=ordered["client_first_token_s"] if meta.role == "prefill" else ordered["client_last_token_s"],
    )
    _check(path, served)
    ids = [str(value) for value in table["request_id"].to_pylist()]
    return ActualRun(path.stem, path, meta, [ids[i] for i in order], served, _steps(path))


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        message = "does not exist, must be a run's Parquet file"
        raise InputError(message, path) from error
    except OSError as error:
        message = f"cannot be read ({error.strerror or 'damaged'}), must be a run's Parquet file"
        raise InputError(message, path) from error
    except pa.ArrowInvalid as error:
        message = "is not a Parquet file, must be a run as `python -m profiler replay` writes it"
        raise InputError(message, path) from error
    if not table.num_rows:
        message = "has no row, must have one for each request"
        raise InputError(message, path)
    return table


def _meta(path: Path, table: pa.Table) -> RunMeta:
    raw = (table.schema.metadata or {}).get(b"sunsim")
    if raw is None:
        message = "has no metadata under `sunsim`, must be a run as `python -m profiler replay` writes it"
        raise InputError(message, path)
    try:
        return RunMeta.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"not a run of schema version {SCHEMA_VERSION}: metadata {where or 'sunsim'}: {first['msg']}"
        raise InputError(message, path) from error


def _present(path: Path, table: pa.Table, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        message = f"column {missing[0]} is missing, must be there; the columns are {', '.join(table.column_names)}"
        raise InputError(message, path)


def _numbers(path: Path, table: pa.Table, names: Sequence[str], what: str) -> dict[str, Floats]:
    """Columns as float64, refused unless every value is a finite number."""
    _present(path, table, names)
    found = {}
    for name in names:
        try:
            values = table[name].cast(pa.float64()).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            message = f"column {name} is {table[name].type}, must hold numbers"
            raise InputError(message, path) from error
        bad = ~np.isfinite(values)
        if bad.any():
            message = f"column {name} has no value in row {int(bad.argmax()) + 1}, must have one for all of {what}"
            raise InputError(message, path)
        found[name] = values
    return found


def _check(path: Path, served: Served) -> None:
    faults = {
        "prompt_tokens is below 1": served.prompt_tokens < 1,
        "output_tokens is below 1": served.output_tokens < 1,
        "submit_s is below 0": served.submit_s < 0,
        "first_token_s is before submit_s": served.first_s < served.submit_s,
        "first_token_s is before scheduled_s": served.first_s < served.scheduled_s,
        "last_token_s is before first_token_s": served.last_s < served.first_s,
    }
    for fault, rows in faults.items():
        if rows.any():
            message = f"{fault} in the request submitted at {served.submit_s[int(rows.argmax())]:g} s, must not be"
            raise InputError(message, path)


def _steps(path: Path) -> StepRows | None:
    beside = path.with_name(path.stem + STEPS_SUFFIX)
    if not beside.is_file():
        return None
    table = _read(beside)
    optional = [name for name in ("decode_requests", "chunk_attended_pairs") if name in table.column_names]
    columns = _numbers(beside, table, (*STEP_COLUMNS, *optional), "a run's steps")
    return StepRows(
        step_s=columns["step_s"],
        batch=columns.get("decode_requests", columns["requests"]),
        context_tokens=columns["context_tokens"],
        chunk_tokens=columns["chunk_tokens"],
        attended_pairs=columns.get("chunk_attended_pairs"),
    )
