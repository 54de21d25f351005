"""Transfers between two live workers that have other things to do: one at a time, beside decodes and beside prompts.

What comes out is raw: all transfers and all steps of both workers, to be summed up by `transfer_points`.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from profiler.cluster.handle import WorkerHandle
from profiler.cluster.messages import Abort, Begin, Done, End, Ended, Ready, Serve
from profiler.cluster.play import KEEP_KV
from profiler.progress import Progress

SIZES = (128, 512, 1024, 2048, 4096)
REPEATS = 8
OUTPUT_TOKENS = 2
GAP_S = 0.03
"""At most so long between two transfers, so that they begin anywhere in a step."""

DECODE_PROMPT_TOKENS = 1024
LONGEST_OUTPUT_TOKENS = 12000
PREFILL_PROMPT_TOKENS = 1024
PROMPTS_AT_A_TIME = 2
RAMP_S = 0.7
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the workers do beside the transfers.

    decode_requests: on the worker that fetches. prompts: whether the other one prefills all the time.
    """

    decode_requests: int
    prompts: bool


TRAFFIC = (
    Traffic(0, False),
    Traffic(8, False),
    Traffic(32, False),
    Traffic(128, False),
    Traffic(0, True),
    Traffic(32, True),
)


class _Inbox:
    """Ends of requests on a worker, by number; `on_end` hears of each."""

    def __init__(self, worker: WorkerHandle, on_end: Callable[[Done], None] | None = None) -> None:
        self._awaited: dict[int, asyncio.Future[Done]] = {}
        self._on_end = on_end
        worker.on_message = self._take

    def expect(self, index: int) -> asyncio.Future[Done]:
        """The end of the request with this number."""
        return self._awaited.setdefault(index, asyncio.get_running_loop().create_future())

    def _take(self, message: Any) -> None:
        if not isinstance(message, Done):
            return
        if awaited := self._awaited.pop(message.index, None):
            awaited.set_result(message)
        elif self._on_end:
            self._on_end(message)


async def beside(source: WorkerHandle, target: WorkerHandle, traffic: Traffic) -> dict[str, Any]:
    """One kind of traffic: what all transfers of all sizes and all steps took."""
    for worker in (source, target):
        worker.send(Begin(0, None))
        await worker.next(Ready)
    goes_on = True

    def another(done: Done) -> None:
        if goes_on:
            source.send(Serve(done.index, "prefill", PREFILL_PROMPT_TOKENS, 1))

    at_source, at_target = _Inbox(source, another), _Inbox(target)
    # Their numbers are above those of the transfers'.
    for i in range(traffic.decode_requests):
        target.send(Serve(100_000 + i, "decode", DECODE_PROMPT_TOKENS, LONGEST_OUTPUT_TOKENS))
    for i in range(PROMPTS_AT_A_TIME if traffic.prompts else 0):
        source.send(Serve(100_000 + i, "prefill", PREFILL_PROMPT_TOKENS, 1))
    await asyncio.sleep(RAMP_S)
    gaps = random.Random(1)
    fetched: list[dict[str, Any]] = []
    for index, tokens in enumerate([size for _ in range(REPEATS) for size in SIZES]):
        prefilled = at_source.expect(index)
        source.send(Serve(index, "prefill", tokens, 1, KEEP_KV))
        async with asyncio.timeout(TIMEOUT_S):
            kv = (await prefilled).stamps.kv_transfer_params
        await asyncio.sleep(gaps.uniform(0, GAP_S))
        there = at_target.expect(index)
        target.send(Serve(index, "decode", tokens, OUTPUT_TOKENS, kv))
        async with asyncio.timeout(TIMEOUT_S):
            stamps = asdict((await there).stamps)
        del stamps["kv_transfer_params"]
        fetched.append(stamps)
    goes_on = False
    ended: list[Ended] = []
    for worker in (source, target):
        worker.send(Abort())
        await asyncio.sleep(0.1)
        worker.send(End())
        ended.append(await worker.next(Ended))
    return {
        **asdict(traffic),
        "fetched": fetched,
        "transfers": [each._asdict() for each in ended[1].transfers],
        "source_steps": [asdict(step) for step in ended[0].steps],
        "target_steps": [asdict(step) for step in ended[1].steps],
    }


async def measure_beside(source: WorkerHandle, target: WorkerHandle, progress: Progress) -> list[dict[str, Any]]:
    """One after the other; what goes wrong costs only its own kind of traffic."""
    found = []
    for traffic in TRAFFIC:
        try:
            async with asyncio.timeout(2 * TIMEOUT_S):
                found.append(await beside(source, target, traffic))
        except TimeoutError:
            progress.say(f"transfers beside {traffic}: came to no end")
        else:
            progress.say(f"transfers beside {traffic}: {len(found[-1]['transfers'])}")
    return found
