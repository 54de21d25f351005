"""Rows for tests: a few written by hand, or many from a toy queue that looks like serving."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pandas as pd

from sunsim.metrics import summarize
from sunsim.metrics.rows import Window
from sunsim.records import REQUEST_COLUMNS, ArmResult, WorkerRecord
from sunsim.roles import Module, Role, Stage

COLUMNS = [column.name for column in REQUEST_COLUMNS]
NONE_TEXT = {"prefill_worker": None, "decode_worker": None}


def toy_worker(
    name: str, stage: str, model: str | None = None, module: Module = Module.OWN, **figures: Any
) -> WorkerRecord:
    """A worker's record as the simulation returns it."""
    plain = {"gpus": 1, "max_num_seqs": 256, "num_gpu_blocks": 24_000, "block_size": 16}
    nothing = {"steps": 0, "busy_s": 0.0, "outside_measured": {}, "preemptions": 0}
    return WorkerRecord(name, Role(Stage(stage), model, module), **{**plain, **nothing, **figures})


def toy_summary(
    *arms: ArmResult,
    slo: dict[str, Any] | None = None,
    warmup_s: float = 0.0,
    **options: Any,
) -> dict[str, Any]:
    """The summary of arms, measured from the end of the warm-up to the last arrival, or to a stop."""
    last_s = max(float(arm.rows["arrival_s"].max()) for arm in arms)
    window = Window(warmup_s, min(last_s, options.get("stop_s", last_s)))
    return summarize(arms, window, slo=slo or {}, **{"meta": {"scenario": "toy"}, **options})


def table(*requests: dict[str, Any], arm: str = "a") -> pd.DataFrame:
    """A result table of these requests: what they leave out is missing, or plain."""
    rows = []
    for i, request in enumerate(requests):
        base: dict[str, Any] = {name: float("nan") for name in COLUMNS if name.endswith("_s")}
        base |= NONE_TEXT | {"arm": arm, "request_id": i, "model": "m1", "prompt_tokens": 16, "output_tokens": 1}
        rows.append(base | {"preemptions": 0, "outcome": "finished"} | request)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({name: "float64" for name in COLUMNS if name.endswith("_s")})


def talk(*rounds: dict[str, Any], arm: str = "a") -> pd.DataFrame:
    """The same of rounds of sessions: 0 of session 0 at 0 s, whose tokens come at 1 s, where nothing else is said."""
    base = {"arrival_s": 0.0, "first_token_s": 1.0, "last_token_s": 1.0}
    frame = table(*(base | {key: value for key, value in each.items() if key in COLUMNS} for each in rounds), arm=arm)
    for name in ("session", "round", "history_tokens", "cached_tokens", "moved_tokens", "pulled_tokens"):
        frame[name] = [int(each.get(name, 0)) for each in rounds]
    frame["appended"] = [each.get("appended") for each in rounds]
    return frame


def drafted(*requests: dict[str, Any], arm: str = "a") -> pd.DataFrame:
    """The same of requests for which tokens may have been drafted, on worker ``d``; each token came alone where nothing else is said."""
    base = {"arrival_s": 0.0, "first_token_s": 1.0, "last_token_s": 1.0, "decode_worker": "d"}
    frame = table(*(base | {key: value for key, value in each.items() if key in COLUMNS} for each in requests), arm=arm)
    frame["bursts"] = [each.get("bursts", each.get("output_tokens", 1)) for each in requests]
    for name in ("drafts", "draft_tokens", "accepted_tokens"):
        frame[name] = [int(each.get(name, 0)) for each in requests]
    return frame


def toy_arm(
    name: str,
    *,
    shared: bool,
    decode_workers: int,
    rate_rps: float = 20.0,
    duration_s: float = 60.0,
    places: int = 256,
    shares: tuple[float, ...] = (0.7, 0.15, 0.1, 0.05),
    seed: int = 0,
) -> ArmResult:
    """Poisson requests through one prefill worker a model, a fixed transfer, and pools of places.

    Isolated arms spread `decode_workers` over the models in turn. Step time grows with the batch met on admission.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate_rps, int(rate_rps * duration_s)))
    models = rng.choice(len(shares), len(arrivals), p=shares)
    prompts = np.clip(rng.lognormal(6.9, 0.9, len(arrivals)), 30, 7000).astype(int)
    outputs = np.clip(rng.lognormal(4.9, 0.8, len(arrivals)), 1, 1000).astype(int)
    free_s = [0.0] * len(shares)
    running: list[list[float]] = [[] for _ in range(decode_workers)]
    names = [
        f"decode/{'shared' if shared else f'm{i % len(shares) + 1}'}/{i // len(shares)}" for i in range(decode_workers)
    ]
    if shared:
        names = [f"decode/shared/{i}" for i in range(decode_workers)]
    rows = []
    for arrival, model, prompt, output in zip(arrivals, models, prompts, outputs, strict=True):
        start = max(arrival, free_s[model])
        end = free_s[model] = start + 0.012 + prompt / 45_000
        own = [w for w in range(decode_workers) if shared or w % len(shares) == model]
        worker = min(own, key=lambda w: len([t for t in running[w] if t > end]))
        queue = running[worker]
        while queue and queue[0] <= end:
            heapq.heappop(queue)
        pulled = end if len(queue) < places else heapq.heappop(queue)
        batch = len(queue) + 1
        tpot = (0.0074 + 0.00006 * batch) * rng.normal(1.0, 0.02)
        there = pulled + 0.004
        first = there + 2.5 * tpot
        last = first + (output - 1) * tpot
        heapq.heappush(queue, last)
        rows.append(
            {
                "model": f"m{model + 1}",
                "arrival_s": arrival,
                "prompt_tokens": int(prompt),
                "output_tokens": int(output),
                "prefill_worker": f"prefill/m{model + 1}/0",
                "decode_worker": names[worker],
                "prefill_start_s": start,
                "prefill_end_s": end,
                "transfer_start_s": pulled,
                "transfer_end_s": there,
                "decode_scheduled_s": there + 0.5 * tpot,
                "decode_first_token_s": first,
                "first_token_s": first,
                "last_token_s": last,
            }
        )
    workers = [toy_worker(f"prefill/m{i + 1}/0", "prefill", f"m{i + 1}", steps=1000) for i in range(len(shares))]
    workers += [
        toy_worker(
            n,
            "decode",
            None if shared else n.split("/")[1],
            max_num_seqs=places,
            steps=6000,
            outside_measured={"context": 12},
        )
        for n in names
    ]
    return ArmResult(table(*rows, arm=name), workers)


def sizes(*rows: tuple[float, int, int, int, int], stage: str = "decode", model: str = "*") -> pd.DataFrame:
    """Sizes of a pool: from when on so many are ready, starting, draining and warm."""
    frame = pd.DataFrame(rows, columns=["at_s", "ready", "starting", "draining", "warm"])
    frame.insert(0, "model", model)
    frame.insert(0, "stage", stage)
    return frame.astype({"at_s": "float64"})
