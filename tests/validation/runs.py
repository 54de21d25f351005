"""Made-up actual runs: what the simulator says of a stream, with a profile of one's choice, written as a replay would."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from sunsim.cli import app
from sunsim.latency.measured import ProfileData
from sunsim.latency.profile import Profile, load_profile
from sunsim.metrics.rows import Floats
from sunsim.validation.replay import Replayed, replay
from sunsim.validation.served import Ints, Served
from sunsim.validation.worker import times_of
from sunsim.validation.worker_run import ActualRun, RunMeta
from tests.synthetic import synthetic_profile

FIRST_TOKENS = [
    {
        "where": "idle",
        "prompt_tokens": prompt_tokens,
        "submit_to_queued_ms": {"median": 1.0 + prompt_tokens / 1000},
        "queued_to_scheduled_ms": {"median": 0.0},
        "first_token_to_client_ms": {"median": 2.0},
    }
    for prompt_tokens in (128, 1024)
]


def profile_document(factor: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A profile with front-end delays, all of whose step times are `factor` as long."""
    document = synthetic_profile(first_token_points=FIRST_TOKENS, **changes)
    for point in [*document["decode_points"], *document["prefill_points"]]:
        point.update({key: value * factor for key, value in point.items() if key.startswith("step_ms")})
    return document


def write_profile(path: Path, document: dict[str, Any] | None = None) -> Profile:
    """The profile as written to `path`."""
    path.write_text(json.dumps(document or profile_document()))
    return load_profile(path)


@dataclass(frozen=True)
class Stream:
    """Requests: seconds and tokens, [n]."""

    arrival_s: Floats
    prompt_tokens: Floats
    output_tokens: Floats


def stream(requests: int, rate_rps: float, *, output_tokens: int = 60, seed: int = 0) -> Stream:
    """Poisson arrivals, prompts of 50 to 1,500 tokens, outputs around `output_tokens`, some of one token."""
    rng = np.random.default_rng(seed)
    outputs = rng.integers(output_tokens // 2, output_tokens * 3 // 2, requests)
    outputs[:: max(requests // 5, 1)] = 1
    arrival_s: Floats = np.cumsum(rng.exponential(1 / rate_rps, requests), dtype=np.float64)
    return Stream(arrival_s, rng.integers(50, 1500, requests).astype(np.float64), outputs.astype(np.float64))


def part(requests: Stream, which: Ints) -> Stream:
    """Some of the requests, by their numbers."""
    return Stream(requests.arrival_s[which], requests.prompt_tokens[which], requests.output_tokens[which])


def meta(role: str = "decode", **changes: Any) -> dict[str, Any]:
    """A run's metadata, as the synthetic profile has them."""
    document = synthetic_profile()
    same = ("gpu", "card", "model", "variant", "versions", "engine_args", "num_gpu_blocks", "block_size")
    stated = {"schema_version": 1, "role": role, "stream": "steady", "host": {"cpu": "one"}, "engine_start": "start-1"}
    return {**stated, **{key: document[key] for key in same}, **changes}


def outcome(requests: Stream, document: dict[str, Any], facts: dict[str, Any], folder: Path) -> Served:
    """What a worker with this profile does with the requests, which come in the order of their arrival."""
    return played(requests, document, facts, folder).served


def played(requests: Stream, document: dict[str, Any], facts: dict[str, Any], folder: Path, seed: int = 0) -> Replayed:
    """The same, and what became of drafts whose acceptance is drawn from the seed."""
    empty = np.zeros(len(requests.arrival_s))
    outputs = np.minimum(requests.output_tokens, 1) if facts["role"] == "prefill" else requests.output_tokens
    served = Served(
        prompt_tokens=requests.prompt_tokens.astype(np.int64),
        output_tokens=outputs.astype(np.int64),
        submit_s=requests.arrival_s,
        **dict.fromkeys(
            ("queued_s", "scheduled_s", "first_token_s", "last_token_s", "client_first_token_s", "client_last_token_s"),
            empty,
        ),
        preemptions=empty.astype(np.int64),
    )
    profile = Profile("made-up", folder, "", ProfileData.model_validate_json(json.dumps(document)))
    run = ActualRun("made-up", folder, RunMeta.model_validate(facts), [], served, None)
    return replay(run, times_of(run, profile), seed=seed)


def columns_of(served: Served) -> dict[str, Any]:
    """The columns of a run's file."""
    ids = np.arange(len(served))
    return {"request_id": ids, "arrival_s": served.submit_s} | {
        each.name: getattr(served, each.name) for each in fields(Served)
    }


def write_table(path: Path, columns: dict[str, Any], facts: dict[str, Any] | None) -> Path:
    """A Parquet file with metadata, or without."""
    table = pa.table(columns)
    if facts is not None:
        table = table.replace_schema_metadata({"sunsim": json.dumps(facts)})
    pq.write_table(table, path)
    return path


def write_run(
    path: Path,
    requests: Stream,
    document: dict[str, Any] | None = None,
    role: str = "decode",
    ids: Ints | None = None,
    **changes: Any,
) -> Path:
    """A run file whose engine had the step times of `document`; requests are numbered unless `ids` names them."""
    facts = meta(role, **changes)
    served = outcome(requests, document or profile_document(), facts, path.parent)
    named = {} if ids is None else {"request_id": ids}
    return write_table(path, columns_of(served) | named, facts)


def slower(served: Served, factor: float | Floats) -> Served:
    """The same with every decode `factor` as long."""
    last_s = served.first_token_s + (served.last_token_s - served.first_token_s) * factor
    return replace(
        served, last_token_s=last_s, client_last_token_s=last_s + (served.client_last_token_s - served.last_token_s)
    )


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `sunsim validate`."""
    result = CliRunner().invoke(app, ["validate", *map(str, arguments)], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr
