"""Transfers between two live workers that have other things to do: one at a time, beside decodes and beside prompts.

A point has what the workers did meanwhile, a prompt's bytes, and medians: of the transfer as `transfer_points` has them;
from the coming of a request to the scheduler until the host began (`begin_ms`), and from the worker's seeing that the KV
was there until it took the request into a step (`admit_ms`). `lead_ms` is how much later than a step's time and the
host's for the transfer the step came that was launched after it began, from the output that let the worker decide: where
the host was busy for longer than a step, so that the GPU waited for it.
"""

import asyncio
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from profiler.cluster.handle import WorkerError, WorkerHandle
from profiler.cluster.inbox import Inbox
from profiler.cluster.messages import Abort, Begin, Done, End, Ended, Ready, Serve
from profiler.cluster.play import KEEP_KV
from profiler.progress import Progress
from profiler.recording import RequestStamps, Step
from profiler.transfers import Transfer

SIZES: tuple[int, ...] = (128, 512, 1024, 2048, 4096)
REPEATS = 8
OUTPUT_TOKENS = 2
GAP_S = 0.03
"""At most so long between two transfers, so that they begin anywhere in a step."""

DECODE_PROMPT_TOKENS = 1024
LONGEST_OUTPUT_TOKENS = 12000
PREFILL_PROMPT_TOKENS = 1024
PROMPTS_AT_A_TIME = 2
RAMP_S = 0.7
TIMEOUT_S = 60.0
"""Of all that is beside one kind of traffic, which takes about 8 s."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the workers do beside the transfers.

    decode_requests: on the worker that fetches. prompts: whether the other one prefills all the time.
    """

    decode_requests: int
    prompts: bool


TRAFFIC: tuple[Traffic, ...] = (
    Traffic(0, False),
    Traffic(8, False),
    Traffic(32, False),
    Traffic(128, False),
    Traffic(0, True),
    Traffic(32, True),
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one kind of traffic: requests and transfers in their order, and the steps of the fetching worker."""

    requests: list[RequestStamps]
    transfers: list[Transfer]
    steps: list[Step]


async def fetch_beside(source: WorkerHandle, target: WorkerHandle, traffic: Traffic) -> Fetched:
    """Transfers of all sizes, one at a time, beside one kind of traffic."""
    for worker in (source, target):
        worker.send(Begin(0, None))
        await worker.next(Ready)
    goes_on = True

    def another(done: Done) -> None:
        if goes_on:
            source.send(Serve(done.index, "prefill", PREFILL_PROMPT_TOKENS, 1))

    at_source, at_target = Inbox(source, another), Inbox(target)
    # Their numbers are above those of the transfers'.
    for i in range(traffic.decode_requests):
        target.send(Serve(100_000 + i, "decode", DECODE_PROMPT_TOKENS, LONGEST_OUTPUT_TOKENS))
    for i in range(PROMPTS_AT_A_TIME if traffic.prompts else 0):
        source.send(Serve(100_000 + i, "prefill", PREFILL_PROMPT_TOKENS, 1))
    gaps = random.Random(1)
    fetched: list[RequestStamps] = []
    try:
        await asyncio.sleep(RAMP_S)
        for index, tokens in enumerate([size for _ in range(REPEATS) for size in SIZES]):
            prefilled = await at_source.serve(Serve(index, "prefill", tokens, 1, KEEP_KV))
            await asyncio.sleep(gaps.uniform(0, GAP_S))
            kv = prefilled.stamps.kv_transfer_params
            fetched.append((await at_target.serve(Serve(index, "decode", tokens, OUTPUT_TOKENS, kv))).stamps)
    finally:
        goes_on = False
    ended: list[Ended] = []
    for worker in (source, target):
        worker.send(Abort())
        await asyncio.sleep(0.1)
        worker.send(End())
        ended.append(await worker.next(Ended))
    if len(ended[1].transfers) != len(fetched):
        msg = f"{len(fetched)} requests fetched their KV in {len(ended[1].transfers)} transfers"
        raise WorkerError(msg)
    return Fetched(fetched, ended[1].transfers, ended[1].steps)


def points_of(traffic: Traffic, fetched: Fetched) -> list[dict[str, Any]]:
    """A point a size."""
    alike = [
        step.step_s for step in fetched.steps if not step.joined and step.decode_requests == traffic.decode_requests
    ]
    step_s = float(np.median(alike)) if alike and traffic.decode_requests else None
    both = list(zip(fetched.requests, sorted(fetched.transfers, key=lambda each: each.begin_s), strict=True))
    points = []
    for num_bytes in sorted({transfer.bytes for transfer in fetched.transfers}):
        own = [(request, transfer) for request, transfer in both if transfer.bytes == num_bytes]
        transfers = [transfer for _, transfer in own]
        leads = [_lead_s(transfer, fetched.steps, step_s) for transfer in transfers] if step_s else []
        known = [lead_s for lead_s in leads if lead_s is not None]
        points.append(
            {
                **asdict(traffic),
                "bytes": num_bytes,
                "transfers": len(own),
                "transfer_ms_median": _median_ms([each.transfer_s for each in transfers]),
                "post_ms_median": _median_ms([each.post_s for each in transfers]),
                "host_ms_median": _median_ms([each.host_s for each in transfers]),
                "begin_ms_median": _median_ms([t.begin_s - r.queued_s for r, t in own if r.queued_s]),
                "admit_ms_median": _median_ms([r.scheduled_s - t.end_s for r, t in own if r.scheduled_s]),
                "lead_ms_median": _median_ms(known) if known else None,
                "step_ms_median": None if step_s is None else round(step_s * 1000, 4),
            }
        )
    return points


def _lead_s(transfer: Transfer, steps: Sequence[Step], step_s: float) -> float | None:
    """None where the GPU may not have waited for the host, or the steps around the transfer are not known."""
    own = bisect_right([step.scheduled_s for step in steps], transfer.begin_s) - 1
    if own < 2 or transfer.host_s <= step_s:
        return None
    return steps[own].end_s - steps[own - 2].end_s - step_s - transfer.host_s


def _median_ms(seconds: Sequence[float]) -> float:
    return round(float(np.median(seconds)) * 1000, 4)


async def measure_beside(source: WorkerHandle, target: WorkerHandle, progress: Progress) -> list[dict[str, Any]]:
    """The points; what goes wrong costs its own kind of traffic, and what takes too long the rest as well."""
    points = []
    for traffic in TRAFFIC:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                points += points_of(traffic, await fetch_beside(source, target, traffic))
        except TimeoutError:
            progress.say(f"transfers beside {traffic}: came to no end")
            break
        except WorkerError as error:
            progress.say(f"transfers beside {traffic}: failed: {error}")
        else:
            progress.say(f"transfers beside {traffic}: measured")
    return points
