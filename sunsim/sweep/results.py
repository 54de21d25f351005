"""What a sweep leaves: one table of every point and arm, and a summary over seeds. Equal points give equal bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from sunsim.sweep.estimates import plain
from sunsim.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sunsim.inputs import Inputs
    from sunsim.sweep.estimates import ArmEstimates, Rows
    from sunsim.sweep.plan import Plan

SCHEMA_VERSION = 1
TABLE = "sweep.parquet"
SUMMARY = "summary.json"
PICTURE = "sweep.png"


def write_table(path: Path, plan: Plan, rows: Rows, inputs: Inputs) -> None:
    """A row a point and arm, in the plan's order whichever ended first: swept values, seed, arm and its metrics."""
    columns: dict[str, list[Any]] = {name: [] for name in (*plan.paths, "seed")}
    for index, seed in sorted(rows, key=lambda at: (at[0], plan.seeds.index(at[1]))):
        for row in rows[index, seed]:
            done = len(columns["seed"])
            for name, value in ({**plan.combinations[index].values, "seed": seed} | row).items():
                columns.setdefault(name, [None] * done).append(value)
            for column in columns.values():
                column.extend([None] * (done + 1 - len(column)))
    metadata = {"sunsim": json.dumps(provenance(plan, inputs), sort_keys=True)}
    table = pa.table({name: _column(values) for name, values in columns.items()}).replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd")


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


def summary(
    plan: Plan, estimates: Mapping[int, Sequence[ArmEstimates]], failed: Sequence[dict[str, Any]], inputs: Inputs
) -> dict[str, Any]:
    """The content of `summary.json`: where it comes from, each combination's arms, and what failed."""
    return {
        **provenance(plan, inputs),
        "points": plan.size,
        "combinations": [
            {
                "values": dict(plan.combinations[index].values),
                "arms": {of_arm.arm: plain(of_arm) for of_arm in arms},
            }
            for index, arms in estimates.items()
        ],
        "failed": list(failed),
    }


def provenance(plan: Plan, inputs: Inputs) -> dict[str, Any]:
    """What was swept, with what."""
    used: dict[str, str] = {}
    for combination in plan.combinations:
        if combination.scenario:
            used |= inputs.sha256(combination.scenario)
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "scenario": plan.scenario.name,
        "combine": plan.combine,
        "paths": list(plan.paths),
        "seeds": list(plan.seeds),
        "files": dict(sorted(used.items())),
    }
