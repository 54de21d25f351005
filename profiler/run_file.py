"""An actual run as files: a row a request in `NAME.parquet`, a row an engine step in `NAME.steps.parquet`.

Times are seconds after the stream's start. What was run, and on what, stands as JSON under the key `sunsim` of the
file's metadata.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.chunks import attended_pairs
from profiler.plateaus import stall_summary
from profiler.profile_file import OtherSetupError
from profiler.recording import RequestStamps, Step
from profiler.streams import REPLAY_COLUMNS, Stream
from sunsim.files import replacing

SCHEMA_VERSION = 1
METADATA_KEY = b"sunsim"

SAME_RUN = (
    "schema_version",
    "csv_sha256",
    "role",
    "gpu",
    "card",
    "model",
    "variant",
    "weights",
    "quick",
    "engine_args",
    "speculative_config",
)

STAMPS = {
    "submit_s": "submit_s",
    "queued_s": "queued_s",
    "scheduled_s": "scheduled_s",
    "first_token_s": "engine_first_token_s",
    "last_token_s": "engine_last_token_s",
    "client_first_token_s": "first_token_s",
    "client_last_token_s": "last_token_s",
}


def request_columns(
    stream: Stream, stamps: Sequence[RequestStamps], start_s: float, preemptions: Mapping[str, int]
) -> dict[str, list[Any]]:
    """The stream's requests with what became of them; `start_s` is the stream's start on the stamps' clock."""

    def relative(moment_s: float | None) -> float | None:
        # Microseconds: finer than anything the clocks of client and engine agree on.
        return None if moment_s is None else round(moment_s - start_s, 6)

    columns: dict[str, list[Any]] = {
        "request_id": stream.carried["request_id"],
        "arrival_s": list(stream.arrival_s),
        "prompt_tokens": stream.prompt_tokens,
        "output_tokens": stream.output_tokens,
    }
    columns |= {name: [relative(getattr(s, field)) for s in stamps] for name, field in STAMPS.items()}
    columns["preemptions"] = [preemptions.get(s.request_id, 0) for s in stamps]
    assert set(REPLAY_COLUMNS) - set(columns) == {"cached_tokens", "bursts"}
    if stream.acceptance_rates is not None:
        columns["bursts"] = [s.bursts for s in stamps]
    if stream.rounds:
        columns["cached_tokens"] = [s.cached_tokens for s in stamps]
        columns |= stream.rounds.columns()
        columns["arrival_s"] = stream.rounds.arrivals_s(stream.arrival_s, columns["client_last_token_s"])
    return columns | {name: values for name, values in stream.carried.items() if name != "request_id"}


def step_columns(steps: Sequence[Step], start_s: float, *, drafts: bool = False) -> dict[str, Any]:
    """Arrays, a value a step; `requests` is the batch, of which `decode_requests` computed one token each.

    With drafts they computed one and `draft_tokens` together, of which `accepted_tokens` were; who came in with one token
    and no draft is among `entering_requests` instead, and of those are the `entering_context_tokens`.
    """
    times = {"end_s": [s.end_s - start_s for s in steps], "step_s": [s.step_s for s in steps]}
    chunks = [[(new, before) for new, before in s.chunks if new > 1 or not drafts] for s in steps]
    counts = {
        "requests": [s.requests for s in steps],
        "decode_requests": [s.decode_requests for s in steps],
        "context_tokens": [s.context_tokens for s in steps],
        "chunk_tokens": [sum(new for new, _ in pieces) for pieces in chunks],
        "chunk_context_tokens": [sum(before for _, before in pieces) for pieces in chunks],
        "chunk_attended_pairs": [attended_pairs(pieces) for pieces in chunks],
        "joined": [len(s.joined) for s in steps],
        "running": [s.running for s in steps],
        "waiting": [s.waiting for s in steps],
        "preempted": [s.preempted for s in steps],
        "free_blocks": [s.free_blocks for s in steps],
    }
    if drafts:
        entering = [[before for new, before in s.chunks if new == 1] for s in steps]
        counts |= {
            "draft_tokens": [s.tokens - s.decode_requests - sum(new for new, _ in s.chunks) for s in steps],
            "accepted_tokens": [sum(s.num_accepted_tokens_per_pos) for s in steps],
            "entering_requests": [len(each) for each in entering],
            "entering_context_tokens": [sum(each) + len(each) for each in entering],
        }
    columns = {name: np.asarray(values, dtype=np.float32) for name, values in times.items()}
    return columns | {name: np.asarray(values, dtype=np.int32) for name, values in counts.items()}


def mean_tpot_ms(columns: Mapping[str, Sequence[Any]]) -> float | None:
    """Mean over requests of (last - first token) / (output tokens - 1) by the engine's stamps, ms; None if none has."""
    rows = zip(columns["first_token_s"], columns["last_token_s"], columns["output_tokens"], strict=True)
    values = [(last - first) / (n - 1) for first, last, n in rows if n > 1 and None not in (first, last)]
    return float(np.mean(values)) * 1e3 if values else None


def busy_s(columns: Mapping[str, Sequence[Any]]) -> float:
    """Seconds in which the engine had at least one request, from its queue to its last token."""
    spans = zip(columns["queued_s"], columns["last_token_s"], strict=True)
    total_s, until_s = 0.0, -np.inf
    for begin_s, end_s in sorted(span for span in spans if None not in span):
        total_s += max(0.0, end_s - max(begin_s, until_s))
        until_s = max(until_s, end_s)
    return float(total_s)


def summary(columns: Mapping[str, Sequence[Any]], steps: Sequence[Step]) -> dict[str, Any]:
    """What a run's metadata say of how it went.

    idle_share: of the time with a request in the engine, the part outside any step: waits for the host.
    submit_lag_ms: how much later than planned the client submitted.
    """
    lag_ms = (np.asarray(columns["submit_s"]) - np.asarray(columns["arrival_s"])) * 1e3
    with_requests_s = busy_s(columns)
    in_steps_s = sum(step.step_s for step in steps)
    tpot_ms = mean_tpot_ms(columns)
    cached = columns.get("cached_tokens")
    return {
        "requests": len(lag_ms),
        "duration_s": round(max(columns["client_last_token_s"]), 6),
        "mean_tpot_ms": None if tpot_ms is None else round(tpot_ms, 4),
        "preemptions": sum(columns["preemptions"]),
        **({} if cached is None else {"cached_share": round(sum(cached) / sum(columns["prompt_tokens"]), 6)}),
        "submit_lag_ms": {
            name: round(float(value), 3)
            for name, value in zip(("p50", "p99", "max"), np.percentile(lag_ms, (50, 99, 100)), strict=True)
        },
        "steps": len(steps),
        "busy_s": round(with_requests_s, 6),
        "idle_share": round(max(0.0, 1 - in_steps_s / with_requests_s), 6) if with_requests_s else 0.0,
        "stalls": stall_summary(steps),
    }


def draft_counts(steps: Sequence[Step]) -> dict[str, Any]:
    """What vLLM counted of a run's drafts, under its names; the mean acceptance length is 1 + accepted / drafts."""
    by_position = [sum(at) for at in zip(*(s.num_accepted_tokens_per_pos for s in steps if s.num_drafts), strict=True)]
    drafts, accepted = sum(s.num_drafts for s in steps), sum(by_position)
    return {
        "num_drafts": drafts,
        "num_draft_tokens": sum(s.num_draft_tokens for s in steps),
        "num_accepted_tokens": accepted,
        "num_accepted_tokens_per_pos": by_position,
        "mean_acceptance_length": round(1 + accepted / drafts, 6) if drafts else None,
    }


def paths(directory: Path, name: str) -> tuple[Path, Path]:
    """Files of a stream's requests and steps."""
    return directory / f"{name}.parquet", directory / f"{name}.steps.parquet"


def write(
    directory: Path, name: str, requests: Mapping[str, Any], steps: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Both files, each whole or not at all; the requests come last, so that where they are, all is."""
    request_path, step_path = paths(directory, name)
    origin = ("schema_version", "stream", "csv_sha256", "engine_start")
    write_table(step_path, steps, {key: facts[key] for key in origin if key in facts})
    write_table(request_path, requests, facts)


def write_table(path: Path, columns: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    table = pa.table({name: pa.array(values, _type(pa, name)) for name, values in columns.items()})
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(facts).encode()})
    with replacing(path, "a file for a run") as partial:
        pq.write_table(table, partial, compression="zstd", compression_level=9)


def _type(pa: Any, name: str) -> Any:
    """Fixed for what replay writes of a request, so that a column of nulls keeps its type; else as the values are."""
    if name in STAMPS or name == "arrival_s":
        return pa.float64()
    return pa.int32() if name in {"prompt_tokens", "output_tokens", "preemptions", "cached_tokens", "bursts"} else None


def read_facts(path: Path) -> dict[str, Any]:
    """A run's metadata; raises OtherSetupError for any other file."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        facts: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[METADATA_KEY])
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        msg = f"{path}: not a run that replay has written; give another --out"
        raise OtherSetupError(msg) from error
    return facts


def is_kept(directory: Path, name: str, facts: Mapping[str, Any]) -> bool:
    """Whether the stream has been replayed as `facts` say; raises OtherSetupError if it was in another way."""
    request_path, step_path = paths(directory, name)
    if not request_path.exists() or not step_path.exists():
        return False
    found = read_facts(request_path)
    for key in SAME_RUN:
        before, now = found.get(key), json.loads(json.dumps(facts.get(key)))
        if before != now:
            msg = f"{request_path}: replayed with {key} {before!r}, this is {now!r}; give another --out"
            raise OtherSetupError(msg)
    return True


def file_sha256(path: Path) -> str:
    """Of a file's bytes, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
