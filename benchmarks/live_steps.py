"""The profile's decode steps against those of live clusters, by worker and batch: ``python -m benchmarks.live_steps``.

What `sunsim validate` says of a worker's run, for each decode worker of each run in ``actual-clusters``: the single steps'
relative errors in the median, given the batches and contexts that ran, so that neither routing nor the step before matters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.show import show
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.report.format import ABSENT
from sunsim.report.text_table import TextTable
from sunsim.validation.folders import Cluster, committed_clusters
from sunsim.validation.record import STEPS_SUFFIX
from sunsim.validation.steps import BANDS, check_steps
from sunsim.validation.worker_run import StepRows

LEAST = 100
"""Steps of a batch size, below which nothing is said of it."""
NOTE = "Simulated against recorded decode steps, median of the single steps' errors, %, by requests in the step."


def steps_of(rows: pd.DataFrame) -> StepRows:
    """One worker's recorded steps."""
    columns = {name: rows[name].to_numpy(np.float64) for name in ("step_s", "context_tokens", "chunk_tokens")}
    none = np.zeros(len(rows))
    return StepRows(
        **columns,
        batch=rows["decode_requests"].to_numpy(np.float64),
        attended_pairs=rows["chunk_attended_pairs"].to_numpy(np.float64),
        entering=none,
        entering_context_tokens=none,
    )


def rows_of(cluster: Cluster) -> Iterator[tuple[str, ...]]:
    """A row a run and decode worker."""
    model = LatencyModel(load_profile(cluster.profile))
    for run in cluster.runs:
        recorded = pd.read_parquet(run.path.with_name(run.path.stem + STEPS_SUFFIX))
        for worker, steps in recorded.groupby("worker"):
            if str(worker).startswith("decode"):
                bands = {band.batches: band for band in check_steps(steps_of(steps), model)}
                told = [bands[name] if name in bands and bands[name].steps >= LEAST else None for name in BANDS]
                errors = [f"{band.median_error_percent:+.1f}" if band else ABSENT for band in told]
                yield (f"  {run.name}", str(worker), *errors)


def main() -> None:
    """Prints the table."""
    rows: list[tuple[str, ...]] = []
    for cluster in committed_clusters():
        rows += [(cluster.name, "", *[""] * len(BANDS)), *rows_of(cluster)]
    show([NOTE, TextTable("", ("", "worker", *BANDS), rows)])


if __name__ == "__main__":
    main()
