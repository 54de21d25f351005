"""A server's run as its client saw it: the result of ``vllm bench serve --save-result --save-detailed``.

Which card and options the server had is not in the file: the card is taken for the profile's, and so are the options that
are not given.
"""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sunsim.clock import MAX_S, since_s
from sunsim.errors import InputError
from sunsim.latency.profile import Profile
from sunsim.report.format import counted
from sunsim.roles import Stage
from sunsim.validation.limit import limit_of
from sunsim.validation.served import Served
from sunsim.validation.worker_run import SCHEMA_VERSION, ActualRun, ClientRecord, RunMeta
from sunsim.workload.traces.rows import MAX_CLOCK_S
from sunsim.workload.traces.text import Text, read_text
from sunsim.workload.traces.vllm_bench import KEYS, bench_result, column, first_wrong, numbers, same_length, tokens

SUFFIX = ".json"
ACCEPTED = "spec_decode_acceptance_rate"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a server was started with, under vLLM's names; None is as the profile's engine."""

    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    num_gpu_blocks: int | None = None


def read_bench(path: Path, profile: Profile, options: ServerOptions) -> ActualRun:
    """Reads and checks a result, as the run of one colocated worker.

    Args:
        path: the JSON file.
        profile: says what is not in the file.
        options: of the server, where they are not the profile's.

    Raises:
        InputError: the file is no such result or has no details or no such limit, no request got an answer, one is longer than the
            server takes, or no server would take the options.
    """
    text = read_text(path, "must be a result of vllm bench serve")
    result = bench_result(text)
    sent = _requests(result, text)
    answered = sent[(sent["output_tokens"] > 0) & (sent["prompt_tokens"] > 0)].sort_values("start_s", kind="stable")
    meta = _meta(path, result, profile, options)
    _check(answered, len(sent), meta, path)
    gaps_s = np.fromiter(chain.from_iterable(answered["gaps_s"]), np.float64)
    served = _served(answered)
    chunks = len(answered) + len(gaps_s)
    client = ClientRecord(
        model_id=str(result.get("model_id", "a model")),
        itl_ms=gaps_s * 1000,
        failed=len(sent) - len(answered),
        together=max(0.0, 1 - chunks / int(answered["output_tokens"].sum())),
        drafts=ACCEPTED in result,
        limit=limit_of(result, served, text),
    )
    return ActualRun(path.stem, path, meta, [str(i) for i in answered.index], served, None, client)


def _requests(result: dict[str, Any], text: Text) -> pd.DataFrame:
    """All requests, counted from 1, in the order of the file; `gaps_s`: between the chunks of each one's answer."""
    columns: dict[str, Any] = {
        KEYS[0]: numbers(result, KEYS[0], MAX_CLOCK_S, text),
        **{key: tokens(result, key, text) for key in KEYS[1:]},
        "ttfts": numbers(result, "ttfts", MAX_S, text),
        "itls": column(result, "itls", text),
    }
    same_length(columns, text)
    for i, gaps in enumerate(columns["itls"], 1):
        if not isinstance(gaps, list) or first_wrong(gaps, MAX_S) is not None:
            message = f"itls has something else for request {i}, must be a list of seconds from 0 to {MAX_S:,.0f}"
            raise InputError(message, text.path)
    names = ("start_s", "prompt_tokens", "output_tokens", "ttft_s", "gaps_s")
    frame = pd.DataFrame(dict(zip(names, columns.values(), strict=True)))
    return frame.set_index(frame.index + 1)


def _check(answered: pd.DataFrame, sent: int, meta: RunMeta, path: Path) -> None:
    if answered.empty:
        message = f"none of {counted(sent, 'request')} got an output token, must be at least one"
        raise InputError(message, path)
    if not answered["ttft_s"].min():
        number = answered["ttft_s"].idxmin()
        message = f"ttfts has 0 for request {number}, which got tokens: must be from a backend that streams"
        raise InputError(message, path)
    total, most = answered["prompt_tokens"] + answered["output_tokens"], meta.engine_args.max_model_len
    if most is not None and total.max() > most:
        message = (
            f"request {total.idxmax()} has {total.max():,} tokens (prompt + output), must have at most {most:,}, or the "
            "server's --max-model-len be given"
        )
        raise InputError(message, path)
    lasts_s = float(answered["start_s"].max() - answered["start_s"].min())
    if lasts_s > MAX_S:
        message = f"the last request was sent {lasts_s:,.0f} s after the first, must be at most {MAX_S:,.0f} s"
        raise InputError(message, path)


def _served(answered: pd.DataFrame) -> Served:
    """All by the client's stamps."""
    start_s = answered["start_s"].to_numpy()
    output_tokens = answered["output_tokens"].to_numpy()
    submit_s = since_s(start_s, float(start_s[0]))
    first_s = submit_s + answered["ttft_s"].to_numpy()
    # A single token is the last as well, whatever chunks without a token came behind it.
    last_s = first_s + np.where(output_tokens > 1, answered["gaps_s"].map(sum), 0.0)
    return Served(
        prompt_tokens=answered["prompt_tokens"].to_numpy(),
        output_tokens=output_tokens,
        submit_s=submit_s,
        queued_s=submit_s,
        scheduled_s=submit_s,
        first_token_s=first_s,
        last_token_s=last_s,
        client_first_token_s=first_s,
        client_last_token_s=last_s,
        preemptions=np.zeros(len(answered), dtype=np.int64),
    )


def _meta(path: Path, result: dict[str, Any], profile: Profile, options: ServerOptions) -> RunMeta:
    """What a run of the profile's engine would say of itself, with the options that are given."""
    data = profile.data
    args = {
        name: getattr(options, name) or getattr(profile, name)
        for name in ("max_num_seqs", "max_num_batched_tokens", "max_model_len")
    }
    if args["max_num_batched_tokens"] < args["max_num_seqs"]:
        message = f"is {args['max_num_batched_tokens']}, must be at least --max-num-seqs ({args['max_num_seqs']})"
        raise InputError(message, "--max-num-batched-tokens")
    return RunMeta.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "role": Stage.COLOCATED,
            "stream": path.stem,
            **{name: getattr(data, name) for name in ("gpu", "card", "model", "variant", "block_size")},
            "num_gpu_blocks": options.num_gpu_blocks or data.num_gpu_blocks,
            "date": str(result["date"]) if "date" in result else None,
            "engine_args": args,
        }
    )
