"""A worker's process without an engine: a token takes a millisecond, whatever the batch.

Prompts whose tokens it is told it finds again in blocks of 16; it answers with its number and that of the request.
"""

import asyncio
import time
from multiprocessing.connection import Connection
from typing import Any

from profiler.cluster.messages import (
    Abort,
    Begin,
    Broken,
    Done,
    End,
    Ended,
    Failed,
    LoadReport,
    Measure,
    Measured,
    Ready,
    Serve,
    Stop,
    Up,
)
from profiler.measure import Subject
from profiler.recording import RequestStamps, Step
from profiler.transfers import Transfer

TOKEN_S = 0.001
KV_BYTES_PER_TOKEN = 1000
BLOCK = 16
VOCABULARY = 5000
FATAL_PROMPT = 666
"""A request of so many prompt tokens is the end of its worker."""
FAILING_PROMPT = 555
"""The first request of so many prompt tokens fails."""
LOST_PROMPT = 444
"""A request of so many comes to no end."""
SILENT_PROMPT = 777
"""After prefill of so many tokens, nobody says where the KV is."""


class _Pretender:
    def __init__(self, connection: Connection, gpu: int) -> None:
        self.stopped = asyncio.Event()
        self._connection = connection
        self._gpu = gpu
        self._tasks: set[asyncio.Task[None]] = set()
        self._transfers: list[Transfer] = []
        self._cache: set[tuple[int, ...]] = set()
        self._has_failed = False
        self._run = self._received = self._requests = self._tokens = 0

    def read(self) -> None:
        while self._connection.poll():
            message = self._connection.recv()
            if isinstance(message, Serve):
                task = asyncio.get_running_loop().create_task(self._serve(message, self._run))
                self._tasks.add(task)
            elif isinstance(message, Begin):
                # What is under way goes on, as a worse worker than ours would let it.
                self._run = message.run
                self._received = self._requests = self._tokens = 0
                self._transfers.clear()
                self._cache.clear()
                self._connection.send(Ready(message.run))
            elif isinstance(message, Abort):
                for task in self._tasks:
                    task.cancel()
            elif isinstance(message, End):
                now_s = time.monotonic()
                step = Step(now_s, 0.0, now_s, TOKEN_S, True, 1, 1, 1, 10, (), (), 0, 1, 0, 0, 99)
                self._connection.send(Ended([step], {}, self._transfers))
            elif isinstance(message, Measure):
                self._connection.send(Measured({"decode-128": None}))
            elif isinstance(message, Stop):
                self.stopped.set()

    async def _serve(self, order: Serve, run: int) -> None:
        if order.prompt_tokens == FATAL_PROMPT:
            self._connection.send(Failed("out of order"))
            return
        if order.prompt_tokens == FAILING_PROMPT and not self._has_failed:
            self._has_failed = True
            self._connection.send(Broken(run, order.index, "the engine ended it with error"))
            return
        if order.prompt_tokens == LOST_PROMPT:
            return
        self._received += 1
        self._requests += 1
        self._tokens += order.prompt_tokens
        self._report(run)
        queued_s = time.monotonic()
        prompt = order.prompt or []
        beginnings = [tuple(prompt[:end]) for end in range(BLOCK, len(prompt), BLOCK)]
        cached = BLOCK * sum(beginning in self._cache for beginning in beginnings)
        await asyncio.sleep(TOKEN_S)
        first_s = time.monotonic()
        await asyncio.sleep(TOKEN_S * (order.output_tokens - 1))
        last_s = time.monotonic()
        if run == self._run:
            self._requests -= 1
            self._tokens -= order.prompt_tokens
        answer = [self._gpu + order.index] * order.output_tokens if prompt else []
        said = [*prompt, *answer][:-1]
        self._cache |= {tuple(said[:end]) for end in range(BLOCK, len(said) + 1, BLOCK)}
        external = 0
        fetch: dict[str, Any] | None = None
        if order.kind == "prefill" and order.prompt_tokens != SILENT_PROMPT:
            fetch = {"do_remote_prefill": True, "from": self._gpu}
        elif order.kind == "decode" and order.kv_transfer_params:
            fetch = order.kv_transfer_params
            external = order.prompt_tokens - cached
            moved = external * KV_BYTES_PER_TOKEN
            self._transfers.append(Transfer(queued_s, moved, TOKEN_S, TOKEN_S / 2, 1, queued_s, TOKEN_S / 2, 0.0, 1))
        stamps = RequestStamps(
            f"{order.kind}-{order.index}",
            order.kind,
            order.prompt_tokens,
            order.output_tokens,
            queued_s,
            first_token_s=first_s,
            last_token_s=last_s,
            queued_s=queued_s,
            scheduled_s=queued_s,
            engine_first_token_s=first_s,
            engine_last_token_s=last_s,
            kv_transfer_params=fetch,
            cached_tokens=cached + external,
            external_tokens=external,
        )
        self._connection.send(Done(run, order.index, stamps, answer))
        self._report(run)

    def _report(self, run: int) -> None:
        self._connection.send(LoadReport(run, self._received, self._requests, self._tokens))


async def _work(connection: Connection, gpu: int) -> None:
    pretender = _Pretender(connection, gpu)
    now_s = time.monotonic()
    facts = {"num_gpu_blocks": 1000 + gpu, "block_size": 16, "engine_start": "one"}
    connection.send(Up(facts, now_s, now_s, now_s, VOCABULARY))
    loop = asyncio.get_running_loop()
    loop.add_reader(connection.fileno(), pretender.read)
    await pretender.stopped.wait()
    loop.remove_reader(connection.fileno())


def main(connection: Connection, subject: Subject, gpu: int) -> None:
    """As `profiler.cluster.worker.main`."""
    asyncio.run(_work(connection, gpu))
