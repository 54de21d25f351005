"""One worker's run: a row a request, as ``python -m profiler replay`` writes it.

Columns are those of `Served`, `request_id` and `arrival_s`; of sessions also those of `sunsim.validation.rounds`.
`NAME.steps.parquet` beside `NAME.parquet`, if there, has the engine's own account of its steps (`STEP_COLUMNS`; and
`decode_requests` and `chunk_attended_pairs`, without which steps with a prompt's chunk cannot be checked; and of a worker
that drafts `entering_requests` and `entering_context_tokens`).
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.errors import InputError
from sunsim.metrics.rows import Floats
from sunsim.roles import Role, Stage
from sunsim.validation.drafts import RunDrafts, adds_up
from sunsim.validation.limit import Limit
from sunsim.validation.record import STEPS_SUFFIX, Facts, check_columns, numbers, read_facts, read_rows
from sunsim.validation.rounds import Rounds, read_rounds
from sunsim.validation.served import Served

SCHEMA_VERSION = 1
WRITER = "python -m profiler replay"
COUNTS = ("prompt_tokens", "output_tokens", "preemptions")
TIMES = tuple(each.name for each in fields(Served) if each.name not in COUNTS)
STEP_COLUMNS = ("step_s", "requests", "context_tokens", "chunk_tokens")
ENTERING = ("entering_requests", "entering_context_tokens")
OPTIONAL = ("decode_requests", "chunk_attended_pairs", *ENTERING)


class RunEngineArgs(BaseModel):
    """The engine arguments that the simulated worker takes over.

    `kv_connector`: None on an ordinary worker; `max_model_len`: None where it is not told.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    max_num_seqs: int = Field(ge=1)
    max_num_batched_tokens: int = Field(ge=1)
    max_model_len: int | None = None
    kv_connector: str | None = None
    enable_prefix_caching: bool = False


class SameStartProfile(BaseModel):
    """The profile that was measured in the same engine start."""

    model_config = ConfigDict(frozen=True, extra="allow")

    sha256: str


class RunMeta(Facts):
    """Where a run comes from. `stream` is the stream's name, `engine_start` an id that runs of one start share.

    `speculative_config`: of a worker that drafts, with the acceptance rates of the run; the counts are of its drafts.
    """

    schema_version: Literal[1]
    role: Stage
    csv_sha256: str | None = None
    host: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, Any] = Field(default_factory=dict)
    engine_args: RunEngineArgs
    block_size: int = Field(ge=1)
    engine_start: str | int | float | None = None
    profile: SameStartProfile | None = None
    speculative_config: RunDrafts | None = None
    num_drafts: int | None = Field(None, ge=0)
    num_draft_tokens: int | None = Field(None, ge=0)
    num_accepted_tokens_per_pos: list[int] | None = None

    @model_validator(mode="after")
    def _drafts_are_counted(self) -> Self:
        counts = (self.num_drafts, self.num_draft_tokens, self.num_accepted_tokens_per_pos)
        if self.speculative_config and None in counts:
            message = (
                "num_drafts, num_draft_tokens and num_accepted_tokens_per_pos must be there beside speculative_config"
            )
            raise ValueError(message)
        if self.speculative_config and self.drafts and not adds_up(self.drafts, self.speculative_config):
            message = (
                "counts of drafts contradict each other: num_accepted_tokens_per_pos must have num_speculative_tokens "
                "numbers that do not rise from num_drafts, and num_draft_tokens be what these can come to"
            )
            raise ValueError(message)
        return self

    @property
    def drafts(self) -> DraftCounts | None:
        """What its drafts came to; None of a worker that does not draft."""
        if self.speculative_config is None:
            return None
        return DraftCounts(self.num_drafts or 0, self.num_draft_tokens or 0, self.num_accepted_tokens_per_pos or [])

    @property
    def does(self) -> Role:
        """The worker's role, whatever its model's name."""
        return Role(self.role, None)

    @property
    def prefills_only(self) -> bool:
        """Whether requests end with their first token here."""
        return not self.does.decodes


@dataclass(frozen=True, slots=True)
class StepRows:
    """The engine's steps, [n].

    Attributes:
        step_s: duration, seconds.
        batch: requests that computed one token each, and its drafts; `context_tokens` is what they attended to, without
            the drafts.
        chunk_tokens: prompt tokens computed beside them.
        attended_pairs: (query, key) pairs of these; None if not recorded.
        entering: requests that computed one token and no drafts, on a worker that drafts, and are not in the batch.
        entering_context_tokens: what these attended to.
    """

    step_s: Floats
    batch: Floats
    context_tokens: Floats
    chunk_tokens: Floats
    attended_pairs: Floats | None
    entering: Floats
    entering_context_tokens: Floats


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """What the client of a server recorded, for which nothing inside the server is known.

    Attributes:
        model_id: what the server calls its model.
        itl_ms: from each chunk of a request's answer to the next, of all requests, float64[k].
        failed: requests that got no answer, and are in no row.
        together: share of the output tokens that did not come in a chunk of their own.
        drafts: whether the server decoded speculatively.
        limit: of requests under way; None without one.
    """

    model_id: str
    itl_ms: Floats
    failed: int
    together: float
    drafts: bool
    limit: Limit | None

    @property
    def loop(self) -> Limit | None:
        """The limit, if requests came from a closed loop."""
        return self.limit if self.limit and self.limit.closed else None


@dataclass(frozen=True, slots=True)
class ActualRun:
    """One run as read; `request_ids` and `rounds`, where it has any, belong to the rows of `served`.

    A run with a `client` is the client's: all stamps in `served` are its own (`Served.to_client`).
    """

    name: str
    path: Path
    meta: RunMeta
    request_ids: list[str]
    served: Served
    steps: StepRows | None
    client: ClientRecord | None = None
    rounds: Rounds | None = None


def read_run(path: Path) -> ActualRun:
    """Reads and checks a run.

    Raises:
        InputError: the file is not a run, lacks a column, is empty, or holds what cannot be: a missing time, or a token
            before its request.
    """
    table = read_rows(path, WRITER)
    meta = read_facts(path, table, RunMeta, f"not a run of schema version {SCHEMA_VERSION}", WRITER)
    columns = numbers(path, table, (*TIMES, *COUNTS))
    check_columns(path, table, ("request_id", "arrival_s"))
    order = np.argsort(columns["submit_s"], kind="stable")
    ordered: dict[str, Any] = {name: values[order] for name, values in columns.items()}
    ordered |= {name: ordered[name].astype(np.int64) for name in COUNTS}
    if meta.prefills_only:
        # A prefill worker emits one token, whatever the stream asks for.
        ordered["output_tokens"] = np.minimum(ordered["output_tokens"], 1)
        ordered |= {f"{side}last_token_s": ordered[f"{side}first_token_s"] for side in ("", "client_")}
    served = Served(**ordered)
    _check(path, served)
    ids = [str(value) for value in table["request_id"].to_pylist()]
    rounds = read_rounds(path, table, order, served.prompt_tokens, served.output_tokens)
    return ActualRun(path.stem, path, meta, [ids[i] for i in order], served, _steps(path), rounds=rounds)


def _check(path: Path, served: Served) -> None:
    faults = {
        "prompt_tokens is below 1": served.prompt_tokens < 1,
        "output_tokens is below 1": served.output_tokens < 1,
        "submit_s is below 0": served.submit_s < 0,
        "first_token_s is before submit_s": served.first_token_s < served.submit_s,
        "first_token_s is before scheduled_s": served.first_token_s < served.scheduled_s,
        "last_token_s is before first_token_s": served.last_token_s < served.first_token_s,
    }
    for fault, rows in faults.items():
        if rows.any():
            message = f"{fault} in the request submitted at {served.submit_s[int(rows.argmax())]:g} s, must not be"
            raise InputError(message, path)


def _steps(path: Path) -> StepRows | None:
    beside = path.with_name(path.stem + STEPS_SUFFIX)
    if not beside.is_file():
        return None
    table = read_rows(beside, WRITER)
    optional = [name for name in OPTIONAL if name in table.column_names]
    columns = numbers(beside, table, (*STEP_COLUMNS, *optional))
    none = np.zeros(table.num_rows)
    return StepRows(
        step_s=columns["step_s"],
        batch=columns.get("decode_requests", columns["requests"]),
        context_tokens=columns["context_tokens"],
        chunk_tokens=columns["chunk_tokens"],
        attended_pairs=columns.get("chunk_attended_pairs"),
        **{name.removesuffix("_requests"): columns.get(name, none) for name in ENTERING},
    )
