"""The KV link between two live workers, measured: prompts prefilled on one, fetched by the other.

A point has the prompt's tokens and bytes, how many transfers ran at a time, and what each took: from the fetching
worker's start of the transfer until the link had moved it (`transfer_ms`, Nixl's own account), of which `post_ms` to
hand it to the link; the time of that worker's host for all that begins it, `post_ms` and what prepares it (`host_ms`);
and from the router's order to the fetching worker until its first token there (`ttft_ms`), which also holds the
worker's own steps.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from profiler.cluster.handle import WorkerError, WorkerHandle
from profiler.cluster.inbox import Inbox
from profiler.cluster.messages import Begin, Done, End, Ended, Ready, Serve
from profiler.cluster.play import KEEP_KV
from profiler.measure import Subject, set_up
from profiler.progress import Progress
from sunsim.files import replacing

SIZES: tuple[int, ...] = (16, 128, 512, 1024, 2048, 4096, 8192, 12288)
REPEATS = 6
SCHEMA_VERSION = 1
CONCURRENT: tuple[tuple[int, int], ...] = ((1024, 4), (1024, 16), (4096, 4))
OUTPUT_TOKENS = 2
INTRODUCTION_TOKENS = 64


async def introduce(workers: Sequence[WorkerHandle]) -> None:
    """Has each worker fetch a prompt from each before it, as runs have prefill on the first.

    The first fetch of two workers waits for their handshake, 2.3 s on an H200, which would be the first requests'. Pairs
    come one after the other, since each worker is in several: with eight workers that takes a minute.
    """
    for source, target in combinations(workers, 2):
        await _transfers(source, target, INTRODUCTION_TOKENS, 1, 1)


async def measure(source: WorkerHandle, target: WorkerHandle, progress: Progress) -> list[dict[str, Any]]:
    """One point a size with one transfer at a time, then some with several; of workers that know each other."""
    wanted = [(tokens, 1, REPEATS) for tokens in SIZES] + [(tokens, several, 2) for tokens, several in CONCURRENT]
    points = []
    for tokens, several, repeats in wanted:
        points.append(_point(tokens, several, *await _transfers(source, target, tokens, several, repeats)))
        progress.say(f"transfer of {tokens} tokens, {several} at a time: {points[-1]['transfer_ms_median']} ms")
    return points


async def _serve(worker: WorkerHandle, orders: Sequence[Serve]) -> list[Done]:
    inbox = Inbox(worker)
    return await asyncio.gather(*(inbox.serve(order) for order in orders))


async def _transfers(
    source: WorkerHandle, target: WorkerHandle, tokens: int, several: int, repeats: int
) -> tuple[list[Done], Ended]:
    """Prefills so many prompts, then has them all fetched at once, and again; the requests at the target, and what it did."""
    for worker in (source, target):
        worker.send(Begin(0, None))
        await worker.next(Ready)
    fetched = []
    for _ in range(repeats):
        prefilled = await _serve(source, [Serve(i, "prefill", tokens, 1, KEEP_KV) for i in range(several)])
        fetched += await _serve(
            target,
            [Serve(d.index, "decode", tokens, OUTPUT_TOKENS, d.stamps.kv_transfer_params) for d in prefilled],
        )
    ended = []
    for worker in (source, target):
        worker.send(End())
        ended.append(await worker.next(Ended))
    return fetched, ended[1]


def _median_ms(seconds: Iterable[float]) -> float:
    return round(float(np.median(list(seconds))) * 1000, 4)


def _point(tokens: int, several: int, fetched: Sequence[Done], ended: Ended) -> dict[str, Any]:
    transfers = ended.transfers
    if not transfers:
        msg = f"no transfer of {tokens} tokens came through; the engines' logs say why"
        raise WorkerError(msg)
    stamps = [done.stamps for done in fetched]
    ttft_ms = [(s.first_token_s - s.submit_s) * 1000 for s in stamps if s.first_token_s]
    quarters = np.percentile([each.transfer_s * 1000 for each in transfers], (25, 50, 75))
    return {
        "tokens": tokens,
        "bytes": int(np.median([each.bytes for each in transfers])),
        "concurrent": several,
        "transfers": len(transfers),
        "transfer_ms_median": round(float(quarters[1]), 4),
        "transfer_ms_p25": round(float(quarters[0]), 4),
        "transfer_ms_p75": round(float(quarters[2]), 4),
        "post_ms_median": _median_ms(each.post_s for each in transfers),
        "host_ms_median": _median_ms(each.host_s for each in transfers),
        "descriptors": int(np.median([each.descriptors for each in transfers])),
        "ttft_ms_median": round(float(np.median(ttft_ms)), 3),
    }


def write(path: Path, points: dict[str, list[dict[str, Any]]], subject: Subject, up: dict[str, Any]) -> None:
    """The points, by kind, and where they come from."""
    fresh = set_up(subject)
    same = ("gpu", "card", "host", "versions", "model", "variant", "weights", "engine_args", "kv_bytes_per_token")
    content = {
        "schema_version": SCHEMA_VERSION,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{key: fresh[key] for key in same},
        **up,
        **points,
    }
    with replacing(path, "a file for transfers") as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
