"""A server's run as its client saw it: the result of ``vllm bench serve --save-result --save-detailed``.

Which card and options the server had is not in the file: the card is taken for the profile's, and so are the options that
are not given.
"""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sunsim.clock import MAX_S, since_s
from sunsim.errors import InputError
from sunsim.latency.profile import Profile
from sunsim.metrics.rows import Floats
from sunsim.roles import Stage
from sunsim.validation.served import Ints, Served
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
        InputError: the file is no such result or has no details, no request got an answer, or one is longer than the
            server takes.
    """
    text = _text(path)
    result = bench_result(text)
    start_s, ttft_s = numbers(result, KEYS[0], MAX_CLOCK_S, text), numbers(result, "ttfts", MAX_S, text)
    prompt_tokens, output_tokens = (tokens(result, key, text) for key in KEYS[1:])
    itls_s = _gaps_s(result, text)
    lists = {**dict(zip(KEYS, (start_s, prompt_tokens, output_tokens), strict=True)), "ttfts": ttft_s, "itls": itls_s}
    same_length(lists, text)
    answered = np.flatnonzero((output_tokens > 0) & (prompt_tokens > 0))
    if not answered.size:
        message = f"none of {len(start_s):,} requests got an output token, must be at least one"
        raise InputError(message, path)
    _check_streamed(ttft_s[answered], answered, path)
    order = answered[np.argsort(start_s[answered], kind="stable")]
    gaps_s = [itls_s[i] for i in order]
    served = _served(start_s[order], ttft_s[order], gaps_s, prompt_tokens[order], output_tokens[order])
    meta = _meta(path, result, profile, options)
    _check_lengths(served, order, meta, path)
    chunks = len(order) + sum(map(len, gaps_s))
    client = ClientRecord(
        model_id=str(result.get("model_id", "a model")),
        itl_ms=np.fromiter(chain.from_iterable(gaps_s), np.float64) * 1000,
        failed=len(start_s) - len(order),
        together=max(0.0, 1 - chunks / int(served.output_tokens.sum())),
        drafts=ACCEPTED in result,
    )
    return ActualRun(path.stem, path, meta, [str(i) for i in order], served, None, client)


def _text(path: Path) -> Text:
    try:
        return read_text(path)
    except OSError as error:
        message = f"cannot be read ({error.strerror}), must be a result of vllm bench serve"
        raise InputError(message, path) from error


def _gaps_s(result: dict[str, Any], text: Text) -> list[list[float]]:
    """Gaps between the chunks of each request's answer."""
    found = column(result, "itls", text)
    for i, gaps in enumerate(found):
        if not isinstance(gaps, list) or first_wrong(gaps, MAX_S) is not None:
            message = f"itls has something else for request {i + 1}, must be a list of seconds from 0 to {MAX_S:g}"
            raise InputError(message, text.path)
    return found


def _check_streamed(ttft_s: Floats, answered: Ints, path: Path) -> None:
    if (ttft_s <= 0).any():
        message = (
            f"ttfts has 0 for request {answered[(ttft_s <= 0).argmax()] + 1}, which got tokens: must be from a backend "
            "that streams"
        )
        raise InputError(message, path)


def _served(
    start_s: Floats, ttft_s: Floats, gaps_s: list[list[float]], prompt_tokens: Ints, output_tokens: Ints
) -> Served:
    """All by the client's stamps."""
    submit_s = since_s(start_s, float(start_s[0]))
    first_s = submit_s + ttft_s
    # A single token is the last as well, whatever chunks without a token came behind it.
    last_s = first_s + np.where(output_tokens > 1, [sum(gaps) for gaps in gaps_s], 0.0)
    return Served(
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        submit_s=submit_s,
        queued_s=submit_s,
        scheduled_s=submit_s,
        first_token_s=first_s,
        last_token_s=last_s,
        client_first_token_s=first_s,
        client_last_token_s=last_s,
        preemptions=np.zeros(len(start_s), dtype=np.int64),
    )


def _meta(path: Path, result: dict[str, Any], profile: Profile, options: ServerOptions) -> RunMeta:
    """What a run of the profile's engine would say of itself, with the options that are given."""
    data = profile.data
    args = {
        name: getattr(options, name) or getattr(profile, name)
        for name in ("max_num_seqs", "max_num_batched_tokens", "max_model_len")
    }
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


def _check_lengths(served: Served, order: Ints, meta: RunMeta, path: Path) -> None:
    most = meta.engine_args.max_model_len
    total = served.prompt_tokens + served.output_tokens
    if most is not None and (total > most).any():
        i = int(total.argmax())
        message = (
            f"request {order[i] + 1} has {total[i]:,} tokens (prompt + output), must have at most {most:,}, or the "
            "server's --max-model-len be given"
        )
        raise InputError(message, path)
    if served.last_token_s.max() > MAX_S:
        message = f"the run lasts {served.last_token_s.max():,.0f} s, must be at most {MAX_S:,.0f} s"
        raise InputError(message, path)
