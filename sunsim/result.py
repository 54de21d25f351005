"""What a run leaves: a row a request, pools' sizes, a summary, and the scenario that gives them again; objects and files."""

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sunsim.artist import Artist
from sunsim.errors import InputError
from sunsim.folder import Results, read_manifest, refuse_broken
from sunsim.metrics import REGISTRY, to_json
from sunsim.records import DRAFT_COLUMNS, REQUEST_COLUMNS, SESSION_COLUMNS, SIZE_COLUMNS, Column

REQUESTS = "requests.parquet"
POOLS = "pools.parquet"
"""There only where a pool is elastic."""
SUMMARY = "summary.json"
SCENARIO = "scenario.resolved.yaml"

PROVENANCE = ("schema_version", "sunsim_version", "scenario", "seed", "profiles")
"""What of a summary stands in the metadata of Parquet files under ``sunsim``."""

_TYPES = {"text": pa.string(), "s": pa.float64(), "count": pa.int64()}
POOL_SCHEMA = pa.schema([("arm", pa.string()), *((column.name, _TYPES[column.kind]) for column in SIZE_COLUMNS)])

_SHOWN: Any = {"na_rep": "-", "float_format": "{:.4g}".format}

HEADLINES = (
    "gpus",
    "accuracy",
    "gpu_hours",
    "peak_gpus",
    "output_throughput_per_gpu",
    "output_throughput_per_decode_gpu",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "p99_tpot_ms",
    "request_goodput",
    "slo_attainment",
    "shed",
    "cached_share",
    "mean_acceptance_length",
    "mean_itl_ms",
    "overloaded",
)


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A simulated scenario.

    Attributes:
        rows: of each arm in the order of the scenario, with `REQUEST_COLUMNS`, and of sessions `SESSION_COLUMNS`, with drafts `DRAFT_COLUMNS`.
        summary: the content of `summary.json`.
        scenario: YAML with every default filled in; it gives equal rows again.
        sizes: of each arm with an elastic pool, with `SIZE_COLUMNS`.
    """

    rows: Mapping[str, pd.DataFrame]
    summary: dict[str, Any]
    scenario: str
    sizes: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """The content of `requests.parquet`: a row a request and arm, see `sunsim.records`."""
        frame: pd.DataFrame = pa.concat_tables(_table(rows) for rows in self.rows.values()).to_pandas()
        return frame

    @cached_property
    def workers(self) -> pd.DataFrame:
        """A row a worker and arm, with what `summary.json` says of it; `sunsim.metrics.REGISTRY` declares the figures."""
        entries = [
            {"arm": arm, "worker": name, **entry}
            for arm, of_arm in self.summary["arms"].items()
            for name, entry in of_arm["workers"].items()
        ]
        return pd.DataFrame(entries)

    @cached_property
    def pools(self) -> pd.DataFrame:
        """The content of `pools.parquet`: a row each time that an elastic pool's size changes; empty without one."""
        frame: pd.DataFrame = _pools_table(self.sizes).to_pandas()
        return frame

    def table(self) -> pd.DataFrame:
        """The headline figures of each arm, under the names and units of the registry."""
        figures = {
            name: {REGISTRY[tag].label: _figure(entry[tag]) for tag in HEADLINES if entry.get(tag) is not None}
            for name, entry in self.summary["arms"].items()
        }
        return pd.DataFrame.from_dict(figures, orient="index").rename_axis("arm")

    def save(self, folder: Path | str, artist: Artist | None = None) -> list[str]:
        """Writes what `sunsim run --out` writes, pictures included; the names of the files.

        Args:
            artist: draws beside this process.

        Raises:
            InputError: the folder cannot be written, or holds something else.
        """
        from sunsim.pictures import draw  # noqa: PLC0415 - whoever saves nothing does not wait for matplotlib

        artist = artist or Artist()
        with results(Path(folder)).writing() as place:
            draw(place, self.rows, self.summary, artist, self.sizes)
            write_requests(place / REQUESTS, self.rows, self.summary)
            if self.sizes:
                pools = _pools_table(self.sizes).replace_schema_metadata({"sunsim": _origin(self.summary)})
                pq.write_table(pools, place / POOLS, compression="zstd")
            (place / SUMMARY).write_text(to_json(self.summary), encoding="utf-8")
            (place / SCENARIO).write_text(self.scenario, encoding="utf-8")
            artist.end()
            return sorted(path.name for path in place.iterdir())

    def __repr__(self) -> str:
        return f"{self.summary['scenario']}, seed {self.summary['seed']}\n{self.table().T.to_string(**_SHOWN)}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        html: str = self.table().T.to_html(**_SHOWN)
        return html


def _figure(value: Any) -> Any:
    """Of what has an interval and an origin, the figure alone."""
    return value["exact_match"] if isinstance(value, Mapping) else value


def results(folder: Path) -> Results:
    """A folder for a result; nothing is made yet.

    Raises:
        InputError: it cannot be written, or holds something else.
    """
    return Results(folder, "run", (REQUESTS, SUMMARY, SCENARIO))


def read(folder: Path | str) -> Result:
    """What `Result.save` or `sunsim run` left in a folder.

    Raises:
        InputError: a file is missing there, or is none of theirs.
    """
    folder = Path(folder)
    try:
        if manifest := read_manifest(folder):
            refuse_broken(folder, manifest, {REQUESTS, POOLS, SUMMARY, SCENARIO})
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        scenario = (folder / SCENARIO).read_text(encoding="utf-8")
        rows = pq.read_table(folder / REQUESTS, schema=_schema(pq.read_schema(folder / REQUESTS).names)).to_pandas()
        arms = summary["arms"]
        sizes = {}
        # All of an elastic scenario's arms say what pools held.
        if any("pools" in arms[name] for name in arms):
            every = pq.read_table(folder / POOLS, schema=POOL_SCHEMA).to_pandas()
            sizes = _by_arm(every, every["arm"].unique())
        return Result(_by_arm(rows, arms), summary, scenario, sizes)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        message = f"cannot be read ({reason}), must be a folder that sunsim run has written, with all of its files"
        raise InputError(message, folder) from error


def write_requests(path: Path, rows: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]) -> None:
    """Writes every arm's rows to one Parquet file: text as plain strings, a missing time as null.

    Equal rows give equal bytes. Where the rows came from is in the schema's metadata under `sunsim`.
    """
    schema = _schema(next(iter(rows.values()))).with_metadata({"sunsim": _origin(summary)})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for of_arm in rows.values():
            writer.write_table(_table(of_arm).replace_schema_metadata(schema.metadata))


def _origin(summary: Mapping[str, Any]) -> str:
    return json.dumps({key: summary[key] for key in PROVENANCE if key in summary}, sort_keys=True)


def _by_arm(rows: pd.DataFrame, arms: Iterable[str]) -> dict[str, pd.DataFrame]:
    return {name: rows[rows["arm"] == name] for name in arms}


def _schema(names: Container[str]) -> pa.Schema:
    """Of a table with these columns."""
    further = [own for own in (SESSION_COLUMNS, DRAFT_COLUMNS) if own[0].name in names]
    columns: list[Column] = [*REQUEST_COLUMNS, *chain.from_iterable(further)]
    return pa.schema((column.name, _TYPES[column.kind]) for column in columns)


def _table(rows: pd.DataFrame) -> pa.Table:
    schema = _schema(rows)
    columns = [pa.array(rows[field.name], from_pandas=True).cast(field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _pools_table(sizes: Mapping[str, pd.DataFrame]) -> pa.Table:
    """The sizes of all arms."""
    tables = [
        pa.Table.from_pandas(rows.assign(arm=arm), POOL_SCHEMA, preserve_index=False) for arm, rows in sizes.items()
    ]
    return pa.concat_tables([POOL_SCHEMA.empty_table(), *tables]).replace_schema_metadata(None)
