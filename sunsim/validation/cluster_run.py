"""One arm of a live cluster: a row a request, as ``python -m profiler cluster`` writes it, routed in real time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from sunsim.document.source import Source
from sunsim.errors import InputError
from sunsim.metrics.rows import Floats
from sunsim.scenario import Arm, Pool, Scenario, checked
from sunsim.validation.record import TRANSFERS_SUFFIX, Facts, check_columns, numbers, read_facts, read_rows
from sunsim.validation.rounds import read_rounds
from sunsim.workload.sessions import UNKNOWN, Sessions

WRITER = "python -m profiler cluster"
AGAIN = "-again"

CONTRACT = {
    "arrival_s": "submit_s",
    "prefill_start_s": "prefill_scheduled_s",
    "prefill_end_s": "prefill_first_token_s",
    "decode_scheduled_s": "scheduled_s",
    "decode_first_token_s": "first_token_s",
    "first_token_s": "client_first_token_s",
    "last_token_s": "client_last_token_s",
}
"""Columns of the results contract, and those of a run that hold the same."""

TEXTS = ("model", "decode_worker")
NUMBERS = (
    "arrival_s",
    "prompt_tokens",
    "output_tokens",
    "submit_s",
    "scheduled_s",
    "first_token_s",
    "last_token_s",
    "client_first_token_s",
    "client_last_token_s",
    "known_s",
    "preemptions",
)
"""Columns that a run must have, and a value in each of their rows; of sessions also those of `rounds`, and these."""

OF_SESSIONS = ("cached_tokens", "moved_tokens")


class ClusterMeta(Facts):
    """What a run says of itself.

    Attributes:
        scenario: of the one arm, as a file.
        staleness_ms: from a request's end until the router knew of it; quantiles.
        submit_lag_ms_p99: how much later than planned requests were submitted.
    """

    role: Literal["cluster"]
    arm: str
    scenario: str
    staleness_ms: dict[str, float] = Field(default_factory=dict)
    submit_lag_ms_p99: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """One arm as it was played.

    Attributes:
        rows: the columns of the results contract, `arrival_s` as submitted; and `known_s`, `planned_s`.
        sessions: that the requests are rounds of; None where they are none.
    """

    name: str
    path: Path
    meta: ClusterMeta
    scenario: Scenario
    rows: pd.DataFrame
    sessions: Sessions | None = None

    @property
    def arm(self) -> Arm:
        return self.scenario.arms[0]

    @property
    def decode(self) -> Pool:
        assert self.arm.decode  # no run without is read
        return self.arm.decode

    @property
    def again(self) -> bool:
        """Whether it repeats an earlier run."""
        return self.name.endswith(AGAIN)

    @property
    def transfers(self) -> pd.DataFrame | None:
        """A row a KV transfer: `bytes`, `transfer_s`, `post_s`; None where no KV was moved."""
        path = self.path.with_name(self.path.stem + TRANSFERS_SUFFIX)
        return pd.read_parquet(path) if path.is_file() else None

    @property
    def same(self) -> str:
        """Equal for runs in which the workers were to do the same: which model a request is of does not matter to
        workers that serve all.
        """
        columns = ["planned_s", "prompt_tokens", "output_tokens"]
        blind = all(pool.shared for pool in self.arm.pools().values())
        rows = self.rows.assign(planned_s=self.begins_s("planned_s"))
        told = rows[columns if blind else [*columns, "model"]].to_csv(index=False)
        return f"{self.arm.block.model_dump_json(exclude={'name'})} {told}"

    def begins_s(self, when: str) -> Floats:
        """When requests came or were planned, which the column `when` has; 0 of those that wait for another's end."""
        at_s = self.rows[when].to_numpy(np.float64)
        return at_s if self.sessions is None else np.where(self.sessions.previous == UNKNOWN, at_s, 0.0)

    @property
    def point(self) -> str:
        """What it has in common with the other arms of its point: the scenario's name and the swept values."""
        label = self.name.removesuffix(AGAIN).removesuffix(f"-{self.meta.arm}")
        values = label.removeprefix(self.scenario.name).replace("-", " ").strip()
        return f"{self.scenario.name}: {values}" if values else self.scenario.name

    @property
    def place(self) -> tuple[str, bool, int, str]:
        """Sorts runs: point by point, isolated first, which is what the others are compared to."""
        return (self.point, self.decode.shared, -self.decode.gpus, self.name)


def read_cluster_run(path: Path) -> ClusterRun:
    """Reads and checks one run.

    Raises:
        InputError: the file is no live run, is empty, or lacks a column or a value.
    """
    table = read_rows(path, WRITER)
    meta = read_facts(path, table, ClusterMeta, "is no live run", WRITER)
    columns = numbers(path, table, NUMBERS)
    check_columns(path, table, TEXTS)
    frame = table.to_pandas()
    scenario = checked(Source.parsed(path, meta.scenario))
    if scenario.arms[0].decode is None:
        message = f"its arm {meta.arm} has no decode workers, must have some: others are not compared yet"
        raise InputError(message, path)
    tokens = (columns[name].astype(np.int64) for name in ("prompt_tokens", "output_tokens"))
    rounds = read_rounds(path, table, np.arange(len(frame)), *tokens)
    if rounds:
        numbers(path, table, OF_SESSIONS)
    sessions = rounds.sessions if rounds else None
    return ClusterRun(path.stem, path, meta, scenario, _contract(frame, meta.arm), sessions)


def _contract(frame: pd.DataFrame, arm: str) -> pd.DataFrame:
    times = {name: frame.get(there, np.nan) for name, there in CONTRACT.items()}
    return frame.assign(
        arm=arm,
        prefill_worker=frame.get("prefill_worker"),
        transfer_start_s=np.nan,
        transfer_end_s=np.nan,
        preemptions=frame["preemptions"] + frame.get("prefill_preemptions", 0),
        outcome="finished",
        planned_s=frame["arrival_s"],
        **times,
    )
