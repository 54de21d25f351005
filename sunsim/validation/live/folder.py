"""A folder of live runs: a Parquet file an arm, as ``python -m profiler cluster`` writes it, and `cluster.yaml`.

`cluster.yaml` says which profile simulates the runs, and which host they were made on.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sunsim.document.block import Name
from sunsim.document.source import Source
from sunsim.errors import InputError
from sunsim.latency.profile import profiles_root
from sunsim.scenario import Arm, Scenario, checked

PLAN = "cluster.yaml"
AGAIN = "-again"
BESIDE = (".steps.parquet", ".transfers.parquet")

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

NEEDED = (
    "arrival_s",
    "model",
    "prompt_tokens",
    "output_tokens",
    "decode_worker",
    "submit_s",
    "scheduled_s",
    "first_token_s",
    "last_token_s",
    "client_first_token_s",
    "client_last_token_s",
    "known_s",
    "preemptions",
)


class Plan(BaseModel):
    """The content of `cluster.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    profile: Name
    """A profile measured on the same host, best in the runs' engine start: a file, from this folder."""
    host: Name
    """A label: recorded facts do not tell two hosts of one kind apart."""
    profile_host: Name | None = None
    """The label of the profile's host, where it is another one."""
    link: Name | None = None
    """Measured transfers, a file from this folder, where KV was moved."""


class Meta(BaseModel):
    """What a live run says of itself."""

    model_config = ConfigDict(frozen=True, extra="allow")

    role: Literal["cluster"]
    stream: str
    arm: str
    scenario: str
    gpu: str
    card: str
    model: str
    variant: str
    num_gpu_blocks: int = Field(ge=2)
    staleness_ms: dict[str, float] = {}
    submit_lag_ms_p99: float = 0.0
    date: str | None = None


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One arm as it was played.

    Attributes:
        rows: the columns of the results contract, `arrival_s` as submitted; and `known_s`, `planned_s`.
        point: what it has in common with the other arms of its point: the scenario's name and the swept values.
        again: whether it repeats an earlier run.
    """

    name: str
    path: Path
    meta: Meta
    scenario: Scenario
    rows: pd.DataFrame

    @property
    def arm(self) -> Arm:
        return self.scenario.arms[0]

    @property
    def again(self) -> bool:
        return self.name.endswith(AGAIN)

    @property
    def transfers(self) -> pd.DataFrame | None:
        """A row a KV transfer: `bytes`, `transfer_s`, `post_s`; None where no KV was moved."""
        path = self.path.with_name(f"{self.path.stem}.transfers.parquet")
        return pd.read_parquet(path) if path.is_file() else None

    @property
    def same(self) -> str:
        """Equal for runs in which the workers were to do the same: which model a request is of does not matter to
        workers that serve all.
        """
        columns = ["planned_s", "prompt_tokens", "output_tokens"]
        blind = all(pool.shared for pool in self.arm.pools().values())
        told = self.rows[columns if blind else [*columns, "model"]].to_csv(index=False)
        return f"{self.arm.block.model_dump_json(exclude={'name'})} {told}"

    @property
    def point(self) -> str:
        label = self.name.removesuffix(AGAIN).removesuffix(f"-{self.meta.arm}")
        values = label.removeprefix(self.scenario.name).replace("-", " ").strip()
        return f"{self.scenario.name}: {values}" if values else self.scenario.name


@dataclass(frozen=True, slots=True)
class LiveFolder:
    """The runs of a folder, the arms of a point one after the other, as the scenario has them."""

    path: Path
    plan: Plan
    runs: list[LiveRun]

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def profile(self) -> Path:
        return Path(os.path.normpath(self.path / self.plan.profile))

    @property
    def link(self) -> Path | None:
        return Path(os.path.normpath(self.path / self.plan.link)) if self.plan.link else None


def is_live(path: Path) -> bool:
    """Whether this is a folder of live runs."""
    return (path / PLAN).is_file()


def committed_clusters() -> list[LiveFolder]:
    """Those that are shipped, by name."""
    folders = sorted(path.parent for path in profiles_root().glob(f"*/actual-clusters/*/{PLAN}"))
    return [read_folder(folder) for folder in folders]


def read_folder(folder: Path) -> LiveFolder:
    """Reads `cluster.yaml` and all runs.

    Raises:
        InputError: something in the folder is wrong; says where.
    """
    path = folder / PLAN
    source = Source(path, path.read_text(encoding="utf-8"))
    try:
        plan = Plan.model_validate(source.values())
    except ValidationError as error:
        faults = [source.explain(details) for details in error.errors(include_url=False)]
        raise min(faults, key=lambda fault: fault.line or 0) from error
    for key, file in (("profile", plan.profile), ("link", plan.link)):
        if file and not (folder / file).is_file():
            raise source.error((key,), f"{key} {file} is not there, must be a file")
    files = [file for file in sorted(folder.glob("*.parquet")) if not file.name.endswith(BESIDE)]
    if not files:
        message = "has no run, must have a Parquet file for each"
        raise InputError(message, folder)
    runs = [read_live_run(file) for file in files]
    # Isolated first: it is what the others are compared to.
    runs.sort(key=lambda run: (run.point, _shared(run), -_workers(run), run.name))
    return LiveFolder(folder, plan, runs)


def read_live_run(path: Path) -> LiveRun:
    """Reads and checks one run.

    Raises:
        InputError: the file is no live run, is empty, or lacks a column or a value.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        message = "is not a Parquet file, must be a run as `python -m profiler cluster` writes it"
        raise InputError(message, path) from error
    meta = _meta(path, (table.schema.metadata or {}).get(b"sunsim"))
    if not table.num_rows:
        message = "has no row, must have one for each request"
        raise InputError(message, path)
    frame = table.to_pandas()
    for name in NEEDED:
        if name not in frame:
            message = f"column {name} is missing, must be there; the columns are {', '.join(frame.columns)}"
            raise InputError(message, path)
        if frame[name].isna().any():
            message = f"column {name} has no value in row {int(frame[name].isna().argmax()) + 1}, must have one in all"
            raise InputError(message, path)
    scenario = checked(Source(path, meta.scenario))
    return LiveRun(path.stem, path, meta, scenario, _contract(frame, meta.arm))


def _meta(path: Path, raw: bytes | None) -> Meta:
    try:
        return Meta.model_validate(json.loads(raw or b"null"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"is no live run: metadata {where or 'sunsim'}: {first['msg']}"
        raise InputError(message, path) from error


def _contract(frame: pd.DataFrame, arm: str) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "arm": arm,
        "request_id": frame["request_id"],
        "model": frame["model"],
        "prompt_tokens": frame["prompt_tokens"],
        "output_tokens": frame["output_tokens"],
        "prefill_worker": frame.get("prefill_worker"),
        "decode_worker": frame["decode_worker"],
        "transfer_start_s": np.nan,
        "transfer_end_s": np.nan,
        "preemptions": frame["preemptions"] + frame.get("prefill_preemptions", 0),
        "outcome": "finished",
        "known_s": frame["known_s"],
        "planned_s": frame["arrival_s"],
    }
    columns |= {name: frame.get(there, np.nan) for name, there in CONTRACT.items()}
    return pd.DataFrame(columns, index=frame.index)


def _shared(run: LiveRun) -> bool:
    assert run.arm.decode
    return run.arm.decode.shared


def _workers(run: LiveRun) -> int:
    assert run.arm.decode
    return run.arm.decode.gpus
