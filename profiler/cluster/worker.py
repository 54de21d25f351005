"""A worker of a live cluster: an engine and its client in a process of their own, as in a deployment."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from profiler.cluster.messages import Begin, Done, End, Ended, Failed, LoadReport, Ready, Serve, Stop, Up
from profiler.engine import Engine, count_preemptions, undisturbed
from profiler.measure import Subject, set_up, started, warm
from profiler.progress import Progress
from profiler.replay import SETTLE_TIMEOUT_S, by_own_id
from profiler.transfers import read_transfers, record_transfers_to

FIRST_SIDE_CHANNEL_PORT = 5600


class Worker:
    """Serves what the router sends, and tells it what has become of it."""

    def __init__(self, engine: Engine, connection: Connection, transfers: Path) -> None:
        self.stopped = asyncio.Event()
        self._engine = engine
        self._connection = connection
        self._transfers = transfers
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._preemptions = count_preemptions()
        self._run = contextlib.ExitStack()
        self._every_s: float | None = None
        self._report_due = False
        self._began_s = 0.0
        self._received = self._requests = self._tokens = 0

    def read(self) -> None:
        """All that has come from the router."""
        try:
            while self._connection.poll():
                self._handle(self._connection.recv())
        except EOFError:
            self.stopped.set()

    def _handle(self, message: Any) -> None:
        if isinstance(message, Serve):
            self._received += 1
            self._requests += 1
            self._tokens += message.prompt_tokens
            self._start(self._serve(message))
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, End):
            self._start(self._end())
        elif isinstance(message, Stop):
            self.stopped.set()

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._connection.send(Failed(f"{type(error).__name__} {error}".strip()))

    def _begin(self, begin: Begin) -> None:
        self._engine.drain_steps()
        self._preemptions.clear()
        self._every_s = begin.every_s
        self._received = self._requests = self._tokens = 0
        self._began_s = time.monotonic()
        self._run.enter_context(undisturbed())
        self._connection.send(Ready())

    async def _serve(self, order: Serve) -> None:
        def on_tokens(new: int) -> None:
            self._tokens += new
            self._changed()

        self._changed()
        stamps = await self._engine.request(
            order.kind,
            order.prompt_tokens,
            order.output_tokens,
            on_tokens=on_tokens,
            kv_transfer_params=order.kv_transfer_params,
        )
        self._requests -= 1
        self._tokens -= order.prompt_tokens + order.output_tokens
        self._connection.send(Done(order.index, stamps))
        self._changed()

    async def _end(self) -> None:
        ended_s = time.monotonic()
        self._run.close()
        await asyncio.wait_for(self._engine.settle(), SETTLE_TIMEOUT_S)
        # Not those of the request that settles it.
        steps = [step for step in self._engine.drain_steps() if step.scheduled_s < ended_s]
        transfers = [each for each in read_transfers(self._transfers) if each[0] >= self._began_s]
        self._connection.send(Ended(steps, by_own_id(Counter(self._preemptions)), transfers))

    def _changed(self) -> None:
        """One report for all that one step has put out, or one at the next whole multiple of the interval."""
        if self._report_due:
            return
        self._report_due = True
        if self._every_s is None:
            self._loop.call_soon(self._report)
        else:
            since_s = time.monotonic() - self._began_s
            self._loop.call_later(self._every_s - since_s % self._every_s, self._report)

    def _report(self) -> None:
        self._report_due = False
        self._connection.send(LoadReport(self._received, self._requests, self._tokens))


async def _work(connection: Connection, subject: Subject, progress: Progress) -> None:
    assert subject.log_dir
    transfers = subject.log_dir / "transfers.jsonl"
    record_transfers_to(transfers)
    async with started(subject, set_up(subject), progress) as engine:
        await warm(engine, subject, progress)
        connection.send(Up({"num_gpu_blocks": engine.num_gpu_blocks, "block_size": engine.block_size}))
        worker = Worker(engine, connection, transfers)
        loop = asyncio.get_running_loop()
        loop.add_reader(connection.fileno(), worker.read)
        try:
            await worker.stopped.wait()
        finally:
            loop.remove_reader(connection.fileno())


def main(connection: Connection, subject: Subject, gpu: int) -> None:
    """The process of the worker on the GPU with this number among the visible ones."""
    # The router's process decides when to end; a Ctrl-C reaches all of the terminal's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[gpu] if gpu < len(visible) and visible[gpu] else str(gpu)
    port = int(os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT", FIRST_SIDE_CHANNEL_PORT)) + gpu
    os.environ["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(port)
    try:
        asyncio.run(_work(connection, subject, Progress(f"worker {gpu}: ")))
    except Exception as error:  # noqa: BLE001  # the router's process is the one to say it
        connection.send(Failed(f"{type(error).__name__} {error}".strip()))
