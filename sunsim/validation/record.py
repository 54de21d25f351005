"""What any record is made of: a Parquet file with a row a request, and facts as JSON under the key `sunsim` of its metadata."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sunsim.errors import InputError
from sunsim.latency.profile import Profile
from sunsim.metrics.rows import Floats

STEPS_SUFFIX = ".steps.parquet"
TRANSFERS_SUFFIX = ".transfers.parquet"
BESIDE = (STEPS_SUFFIX, TRANSFERS_SUFFIX)
"""How files that go with a record end."""


class Facts(BaseModel):
    """What every record says of itself."""

    model_config = ConfigDict(frozen=True, extra="allow")

    stream: str
    gpu: str
    card: str
    model: str
    variant: str
    num_gpu_blocks: int = Field(ge=2)
    date: str | None = None


Known = TypeVar("Known", bound=Facts)


def read_rows(path: Path, writer: str) -> pa.Table:
    """The rows of a file that the command `writer` writes.

    Raises:
        InputError: it cannot be read, is no Parquet file, or has no row.
    """
    try:
        table = pq.read_table(path)
    except OSError as error:
        what = (
            "does not exist"
            if isinstance(error, FileNotFoundError)
            else f"cannot be read ({error.strerror or 'damaged'})"
        )
        message = f"{what}, must be a run's Parquet file"
        raise InputError(message, path) from error
    except pa.ArrowInvalid as error:
        message = f"is not a Parquet file, must be a run as `{writer}` writes it"
        raise InputError(message, path) from error
    if not table.num_rows:
        message = "has no row, must have one for each request"
        raise InputError(message, path)
    return table


def read_facts(path: Path, table: pa.Table, kind: type[Known], refusal: str, writer: str) -> Known:
    """The table's metadata.

    Raises:
        InputError: there are none, or they are not of this kind, which `refusal` says.
    """
    raw = (table.schema.metadata or {}).get(b"sunsim")
    if raw is None:
        message = f"has no metadata under `sunsim`, must be a run as `{writer}` writes it"
        raise InputError(message, path)
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{refusal}: metadata {where or 'sunsim'}: {first['msg']}"
        raise InputError(message, path) from error


def check_columns(path: Path, table: pa.Table, names: Sequence[str]) -> None:
    """Refuses a table without one of these columns, or with a row that has nothing in it.

    Raises:
        InputError: one is missing, or a value of it.
    """
    for name in names:
        if name not in table.column_names:
            message = f"column {name} is missing, must be there; the columns are {', '.join(table.column_names)}"
            raise InputError(message, path)
        if table[name].null_count:
            row = table[name].is_null().index(True).as_py() + 1
            message = f"column {name} has no value in row {row}, must have one in all"
            raise InputError(message, path)


def numbers(path: Path, table: pa.Table, names: Sequence[str]) -> dict[str, Floats]:
    """Columns as float64.

    Raises:
        InputError: one is missing, or one of its values is no finite number.
    """
    check_columns(path, table, names)
    found = {}
    for name in names:
        try:
            values = table[name].cast(pa.float64()).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            message = f"column {name} is {table[name].type}, must hold numbers"
            raise InputError(message, path) from error
        bad = ~np.isfinite(values)
        if bad.any():
            message = f"column {name} has no value in row {int(bad.argmax()) + 1}, must have one in all"
            raise InputError(message, path)
        found[name] = values
    return found


def check_subject(path: Path, facts: Facts, profile: Profile) -> None:
    """Refuses a profile of something else than what ran.

    Raises:
        InputError: it was measured on another card, model or variant.
    """
    for what in ("card", "model", "variant"):
        ran, measured = getattr(facts, what), getattr(profile.data, what)
        if ran != measured:
            message = (
                f"ran on {what} {ran}, but profile {profile.name} was measured on {measured}: must be the same {what}"
            )
            raise InputError(message, path)
