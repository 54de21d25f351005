"""What a simulation leaves: one row a request and one record a worker. The only place that knows their columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from sunsim.roles import Role


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table of requests or of workers.

    Attributes:
        kind: ``text``, ``s`` (seconds since the start of the stream, float64, missing until it happens), ``count``
            (int64), ``number`` (float64), ``counts`` (a count by what was counted) or ``numbers`` (a list).
    """

    name: str
    kind: Literal["text", "s", "count", "number", "counts", "numbers"]
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
    Column(
        "outcome",
        "text",
        "``finished``, ``unfinished`` where the stop cut it off, or ``shed`` where admission refused it.",
    ),
)


SESSION_COLUMNS = (
    Column("session", "count", "The conversation that the request is a round of."),
    Column("round", "count", "Its number in it, from 0."),
    Column("history_tokens", "count", "Of its prompt, what the round before it had in its prompt or answer."),
    Column("cached_tokens", "count", "Of its prompt, found in the cache of the worker that computed it."),
    Column(
        "moved_tokens", "count", "Tokens whose KV crossed the link for it, to its decode worker or back to prefill."
    ),
    Column(
        "pulled_tokens",
        "count",
        "Of these, history that prefill pulled from a decode worker, so as not to compute it again.",
    ),
    Column(
        "appended",
        "text",
        "``local`` if its decode worker computed the prompt, ``remote`` if a prefill worker did; missing where there are none.",
    ),
)
"""Further ones, where the requests are rounds of conversations."""

DRAFT_COLUMNS = (
    Column("bursts", "count", "Steps in which tokens of it came out, that of prefill included; 0 unless it finished."),
    Column("drafts", "count", "Steps in which tokens drafted for it were checked."),
    Column("draft_tokens", "count", "Tokens drafted in them."),
    Column(
        "accepted_tokens",
        "count",
        "Of these, the accepted ones, also where its end cut them off; with ``acceptance: expected`` only those that came out.",
    ),
)
"""Further ones, where workers of any arm draft tokens; vLLM's names for what it counts of itself."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What a worker did in a run.

    Attributes:
        role: what it does, and for whom.
        steps, busy_s: steps that computed something, and the time they took.
        outside_measured: steps outside the measured range of the profile, by what took them out (``steps.Outside``).
        preemptions: times that a request lost its place here.
        prefix_cache_queries, prefix_cache_hits: tokens that were looked for in its prefix cache, and those found; vLLM's
            names.
        num_drafts, num_draft_tokens: requests' steps in which drafted tokens were checked, and these tokens; vLLM's names.
        num_accepted_tokens_per_pos: of the tokens drafted first, second and so on, the accepted ones.
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
    prefix_cache_queries: int = 0
    prefix_cache_hits: int = 0
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens_per_pos: tuple[int, ...] = ()

    @property
    def num_accepted_tokens(self) -> int:
        """Of the drafted tokens, the accepted ones."""
        return sum(self.num_accepted_tokens_per_pos)


@dataclass(frozen=True, slots=True, eq=False)
class ArmResult:
    """What one arm did.

    Attributes:
        rows: `REQUEST_COLUMNS`, and maybe `SESSION_COLUMNS` and `DRAFT_COLUMNS`, a row a request.
        workers: one record a worker; of an elastic pool one for each that there may be.
        sizes: `SIZE_COLUMNS`, in order of stage, model and time; None where all pools are fixed.
    """

    rows: pd.DataFrame
    workers: Sequence[WorkerRecord]
    sizes: pd.DataFrame | None = None


SIZE_COLUMNS = (
    Column("stage", "text", "``prefill``, ``decode`` or ``colocated``."),
    Column("model", "text", "The one model that the pool serves, ``*`` for all."),
    Column("at_s", "s", "From then on, until the pool's next row, it had these workers."),
    Column("ready", "count", "Workers that take requests."),
    Column("starting", "count", "Ordered, and not ready to take requests yet."),
    Column("draining", "count", "Told to go, and still busy with the requests that they have."),
    Column("warm", "count", "Started and kept in reserve."),
)
"""Of an elastic pool's sizes, a row each time that one changes, the first at 0; all of these workers hold their GPUs."""


WORKER_COLUMNS = (
    Column("stage", "text", "``prefill``, or ``decode``, also where it does both."),
    Column("model", "text", "The one model that it serves, ``*`` for all."),
    Column("gpus", "count", "Its GPUs."),
    Column("max_num_seqs", "count", "Requests that may run on it at once: its places."),
    Column("num_gpu_blocks", "count", "KV blocks that it has."),
    Column("requests", "count", "Requests that it served, over the whole run."),
    Column("steps", "count", "Steps in which it computed something, over the whole run."),
    Column("outside_measured", "counts", "Of these, the ones outside the profile's measured range, by the reason."),
    Column(
        "preemptions", "count", "Times that a request lost its place here for want of KV blocks, over the whole run."
    ),
    Column("utilisation", "number", "Share of the window with at least one request in prefill, or decoding."),
    Column("mean_batch", "number", "Decode: requests decoding, mean over the window's time."),
    Column("peak_batch", "number", "Decode: most requests decoding at once inside the window."),
    Column("mean_batch_share", "number", "Decode: `mean_batch` over `max_num_seqs`."),
    Column(
        "peak_places", "number", "Decode: most places held at once, by requests that decode or whose KV is on its way."
    ),
    Column(
        "output_throughput_window", "number", "Decode: its output tokens inside the window over its length, per second."
    ),
    Column("mean_kv_occupancy", "number", "Share of its KV blocks held, mean over the window's time."),
    Column("peak_kv_occupancy", "number", "The highest such share inside the window."),
)
"""Of a worker's entry in a summary; `sunsim.metrics.REGISTRY` says how the figures are made."""

CACHE_COLUMNS = (
    Column("prefix_cache_queries", "count", "Tokens looked up in its prefix cache, over the whole run."),
    Column("prefix_cache_hits", "count", "Of these, the tokens that were found."),
)
"""Further ones, where the requests are rounds of conversations."""

DRAFT_WORKER_COLUMNS = (
    Column("num_drafts", "count", "Requests' steps in which drafted tokens were checked, over the whole run."),
    Column("num_draft_tokens", "count", "Tokens drafted in them."),
    Column("num_accepted_tokens", "count", "Of these, the accepted ones."),
    Column("mean_acceptance_length", "number", "Tokens that such a step gives a request, in the mean."),
    Column("draft_acceptance_rate", "number", "Of the drafted tokens, the share that was accepted."),
    Column("acceptance_rate_per_pos", "numbers", "Share of the drafts whose first, first two and so on were accepted."),
)
"""Further ones, where workers of any arm draft tokens."""
