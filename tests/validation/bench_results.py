"""Made-up results of `vllm bench serve`, in the form in which vLLM 0.24 writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sunsim

CLOCK_S = 4242.5
"""Where the client's own clock stands when the first request is sent."""


def bench_result(
    start_s: Sequence[float],
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    ttft_s: Sequence[float],
    itls_s: Sequence[Sequence[float]],
    **changes: Any,
) -> dict[str, Any]:
    """The JSON object with a request at each place of the lists; times on the client's clock."""
    return {
        "date": "20261129-101500",
        "endpoint_type": "vllm",
        "backend": "vllm",
        "label": "vllm",
        "model_id": "meta-llama/Llama-3.1-8B",
        "tokenizer_id": "meta-llama/Llama-3.1-8B",
        "num_prompts": len(start_s),
        "request_rate": 12.0,
        "burstiness": 1.0,
        "max_concurrency": None,
        "completed": sum(tokens > 0 for tokens in output_tokens),
        "failed": sum(tokens == 0 for tokens in output_tokens),
        "input_lens": list(prompt_tokens),
        "output_lens": list(output_tokens),
        "ttfts": list(ttft_s),
        "itls": [list(gaps) for gaps in itls_s],
        "start_times": [CLOCK_S + time_s for time_s in start_s],
        "generated_texts": ["w1 w2" for _ in start_s],
        "errors": ["" if tokens else "Service Unavailable" for tokens in output_tokens],
        **changes,
    }


def served_result(
    profile: Path,
    options: dict[str, int] | None = None,
    slower: float = 1.0,
    requests: int = 300,
    clients: int | None = None,
) -> dict[str, Any]:
    """What one simulated colocated worker did, as its client would have recorded it.

    Args:
        profile: its file.
        options: of the worker, if not the profile's.
        slower: every gap between tokens is so many times as long.
        requests: how many, ten a second.
        clients: of a closed loop, which have all of them at once; None without one.
    """
    worker = {"profile": str(profile), "policy": "isolated", "workers": 1, **(options or {})}
    document = {
        "name": "server",
        "seed": 5,
        "models": {"count": 1},
        "workload": {
            "kind": "synthetic",
            "requests": requests,
            "arrivals": {"kind": "closed", "concurrency": clients} if clients else {"kind": "poisson", "rate_rps": 10},
            "lengths": {
                "kind": "lognormal",
                "prompt": {"median_tokens": 400, "sigma": 0.5, "max_tokens": 2000},
                "output": {"median_tokens": 60, "sigma": 0.4, "max_tokens": 200},
            },
        },
        "arms": [{"name": "server", "colocated": worker}],
    }
    rows = sunsim.simulate(sunsim.load(document)).requests
    gaps = (rows["output_tokens"].astype(int) - 1).tolist()
    spans_s = ((rows["last_token_s"] - rows["first_token_s"]) * slower).tolist()
    return bench_result(
        rows["arrival_s"].tolist(),
        rows["prompt_tokens"].tolist(),
        rows["output_tokens"].tolist(),
        (rows["first_token_s"] - rows["arrival_s"]).tolist(),
        [[span_s / n] * n for span_s, n in zip(spans_s, gaps, strict=True)],
        **({"request_rate": "inf", "max_concurrency": clients} if clients else {}),
    )


def write_result(path: Path, result: dict[str, Any]) -> Path:
    """In one line, as vLLM does."""
    path.write_text(json.dumps(result), encoding="utf-8")
    return path
