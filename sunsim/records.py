"""What a simulation leaves: one row a request and one record a worker. The only place that knows their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from sunsim.roles import Role


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the requests' table.

    Attributes:
        kind: ``text``, ``s`` (seconds since the start of the stream, float64, missing until it happens) or ``count``
            (int64).
    """

    name: str
    kind: Literal["text", "s", "count"]
    meaning: str


REQUEST_COLUMNS = (
    Column("arm", "text", "The arm that served the request."),
    Column("request_id", "count", "The request's number, the same in every arm."),
    Column("model", "text", "The model that it is for."),
    Column("arrival_s", "s", "Arrival at the router."),
    Column("prompt_tokens", "count", "Length of the prompt."),
    Column("output_tokens", "count", "Tokens to be generated, the first included."),
    Column("prefill_worker", "text", "Worker of its first prefill; missing where nothing prefills apart from decode."),
    Column("decode_worker", "text", "Worker that decodes it, or does both; missing where a request ends with prefill."),
    Column("prefill_start_s", "s", "The first step with tokens of its prompt begins, on its prefill worker."),
    Column("prefill_end_s", "s", "The step with the last of them is out."),
    Column("transfer_start_s", "s", "The decode worker has taken it and asks for its KV."),
    Column("transfer_end_s", "s", "All of its KV is there."),
    Column("decode_scheduled_s", "s", "Its decode worker's scheduler first takes it into a step."),
    Column("decode_first_token_s", "s", "Its first token of decode is out of the engine."),
    Column("first_token_s", "s", "Its first token is at the client."),
    Column("last_token_s", "s", "Its last token is at the client."),
    Column("preemptions", "count", "Times that it lost its place for want of KV blocks."),
    Column("outcome", "text", "``finished``, or ``unfinished`` where the stop cut it off."),
)


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What a worker did in a run.

    Attributes:
        role: what it does, and for whom.
        steps, busy_s: steps that computed something, and the time they took.
        outside_measured: steps outside the measured range of the profile, by what took them out (``steps.Outside``).
        preemptions: times that a request lost its place here.
    """

    name: str
    role: Role
    gpus: int
    max_num_seqs: int
    num_gpu_blocks: int
    block_size: int
    steps: int
    busy_s: float
    outside_measured: Mapping[str, int]
    preemptions: int


@dataclass(frozen=True, slots=True, eq=False)
class ArmResult:
    """What one arm did: `rows` has `REQUEST_COLUMNS`, `workers` one record a worker."""

    rows: pd.DataFrame
    workers: Sequence[WorkerRecord]
