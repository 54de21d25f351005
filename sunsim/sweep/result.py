"""What a sweep gives: a table of every point and arm, and a summary over seeds. Equal points give equal bytes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sunsim.folder import Results
from sunsim.metrics import to_json
from sunsim.points.store import POINTS
from sunsim.sweep.accuracy import accuracy_of
from sunsim.sweep.estimates import ArmEstimates, Rows, estimates, plain
from sunsim.sweep.grid import Grid
from sunsim.version import __version__

SCHEMA_VERSION = 1
TABLE = "sweep.parquet"
SUMMARY = "summary.json"
PICTURE = "sweep.png"


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult:
    """A sweep whose points have been simulated.

    Attributes:
        grid: what was swept.
        rows: the figures of each arm, by number of the combination and seed.
        failed: an entry a failed point: its values, its seed and the reason.
        files: hashes of the files that it was simulated with.
    """

    grid: Grid
    rows: Rows
    failed: Sequence[Mapping[str, Any]]
    files: Mapping[str, str]

    @cached_property
    def points(self) -> pd.DataFrame:
        """The content of `sweep.parquet`: a row a point and arm, with swept values, seed, arm and its metrics."""
        frame: pd.DataFrame = self._table().to_pandas()
        return frame

    @cached_property
    def estimates(self) -> dict[int, list[ArmEstimates]]:
        """Means over seeds of each combination's arms, by number of the combination."""
        return estimates(self.grid, self.rows)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`: where it comes from, each combination's arms, and what failed."""
        accuracy = accuracy_of(self.grid)
        combinations = [
            {
                "values": dict(self.grid.combinations[index].values),
                "arms": {
                    of_arm.arm: plain(of_arm) | ({"accuracy": accuracy[index][of_arm.arm]} if accuracy else {})
                    for of_arm in arms
                },
            }
            for index, arms in self.estimates.items()
        ]
        return {
            **self._provenance(),
            "points": self.grid.size,
            "combinations": combinations,
            "failed": list(self.failed),
        }

    def table(self) -> pd.DataFrame:
        """A row a combination and arm: exact match where an arm names an accuracy file, means over the seeds, and half the
        width of their 95 % intervals.
        """
        accuracy = accuracy_of(self.grid)
        rows = [
            {**self.grid.combinations[index].values, "arm": of_arm.arm}
            | ({"exact_match": (accuracy[index][of_arm.arm] or {}).get("exact_match")} if accuracy else {})
            | {tag: made.mean for tag, made in of_arm.figures.items() if made}
            | {f"{tag}_half_width": made.half_width for tag, made in of_arm.figures.items() if made}
            for index, arms in self.estimates.items()
            for of_arm in arms
        ]
        return pd.DataFrame(rows)

    def save(self, folder: Path | str) -> list[str]:
        """Writes what `sunsim sweep --out` writes besides the points; the names of the files.

        Raises:
            InputError: the folder cannot be written, or holds something else.
        """
        with results(Path(folder)).writing() as place:
            (place / SUMMARY).write_text(to_json(self.summary), encoding="utf-8")
            if self.rows:
                from sunsim.sweep.picture import draw  # noqa: PLC0415 - bad input need not wait for matplotlib

                pq.write_table(self._table(), place / TABLE, compression="zstd")
                draw(place / PICTURE, self.grid, self.estimates)
            return sorted(path.name for path in place.iterdir())

    def __repr__(self) -> str:
        return f"{self.grid.scenario.name}: {self.grid.size} points, {len(self.failed)} failed\n{self.table()}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        html: str = self.table().to_html(index=False, max_rows=120)
        return html

    def _table(self) -> pa.Table:
        """In the grid's order, whichever ended first."""
        rows = [
            {**self.grid.combinations[index].values, "seed": seed, **row}
            for index, seed in sorted(self.rows, key=lambda at: (at[0], self.grid.seeds.index(at[1])))
            for row in self.rows[index, seed]
        ]
        names = dict.fromkeys([*self.grid.paths, "seed", *(name for row in rows for name in row)])
        metadata = {"sunsim": json.dumps(self._provenance(), sort_keys=True)}
        table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
        return table.replace_schema_metadata(metadata)

    def _provenance(self) -> dict[str, Any]:
        """What was swept, with what."""
        return {
            "schema_version": SCHEMA_VERSION,
            "sunsim_version": __version__,
            "scenario": self.grid.scenario.name,
            "combine": self.grid.combine,
            "paths": list(self.grid.paths),
            "seeds": list(self.grid.seeds),
            "files": dict(sorted(self.files.items())),
        }


def results(folder: Path) -> Results:
    """A folder for a sweep; nothing is made yet.

    Raises:
        InputError: it cannot be written, or holds something else.
    """
    return Results(folder, "sweep", (POINTS,))


def _column(values: Sequence[Any]) -> pa.Array:
    """Numbers, truths and texts as they are; of a mixture, and of mappings and lists, the JSON text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        fit = all(value is None or -(2**63) <= value < 2**63 for value in values)
        return pa.array(values, pa.int64()) if fit else pa.array([str(value) for value in values])
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds in ({bool}, {str}):
        return pa.array(values)
    return pa.array([None if value is None else json.dumps(value, sort_keys=True) for value in values], pa.string())
