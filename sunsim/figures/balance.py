"""Load balance: batch and queue of each decode worker over time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from plots.paper.balance import plot
from sunsim.arms import simulate_arms
from sunsim.figures.captions import Caption, of_run
from sunsim.figures.figure import Figure
from sunsim.figures.sweeps import Frames, scenario_file
from sunsim.metrics.intervals import Level
from sunsim.records import ArmResult
from sunsim.run import prepare
from sunsim.scenario import load_scenario
from sunsim.sweep.grid import Grid

SCENARIO = "balance"
EVERY_S = 0.25


def table(frames: Frames) -> pd.DataFrame:  # noqa: ARG001 - a single run, with its rows
    """A row an arm, decode worker and quarter of a second until arrivals end: requests decoding and waiting."""
    scenario, requests = prepare(scenario_file(SCENARIO), (), None)
    return pd.concat(map(_series, simulate_arms(scenario, requests)), ignore_index=True)


def _series(result: ArmResult) -> pd.DataFrame:
    rows = result.rows
    time_s = np.arange(0.0, rows["arrival_s"].max(), EVERY_S)
    parts = []
    for worker in result.workers:
        if not worker.role.decodes:
            continue
        own = rows[rows["decode_worker"] == worker.name]
        scheduled_s = own["decode_scheduled_s"].to_numpy()
        parts.append(
            pd.DataFrame(
                {
                    "arm": rows["arm"].iloc[0],
                    "worker": worker.name,
                    "max_num_seqs": worker.max_num_seqs,
                    "time_s": time_s,
                    "batch": Level.count(scheduled_s, own["last_token_s"].to_numpy()).at(time_s).astype(int),
                    "queue": Level.count(own["prefill_end_s"].to_numpy(), scheduled_s).at(time_s).astype(int),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def seen(made: pd.DataFrame) -> str:
    """The largest and the smallest mean batch of each arm, and its longest queue."""
    said = []
    for arm, rows in made.groupby("arm", sort=False):
        batch = rows.groupby("worker")["batch"].mean()
        said.append(
            f"{arm}: mean batch {batch.min():.0f} on the least and {batch.max():.0f} on the most loaded decode GPU, "
            f"longest queue {rows['queue'].max():,} requests"
        )
    return "; ".join(said) + "."


def caption(seen: str, plans: Sequence[Grid]) -> Caption:  # noqa: ARG001 - a single run
    """That of the one scenario."""
    return of_run(seen, load_scenario(scenario_file(SCENARIO)))


FIGURE = Figure(
    name="balance",
    title="How evenly are decode GPUs loaded?",
    sweeps=(),
    table=table,
    plot=plot,
    seen=seen,
    caption=caption,
)
