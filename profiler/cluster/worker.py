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

from profiler import profile_file
from profiler.cluster.messages import (
    Begin,
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
from profiler.engine import Engine, count_preemptions, undisturbed
from profiler.measure import Order, Subject, missing_phases, run_phases, set_up, started, state_engine, warm
from profiler.phases import prefill
from profiler.progress import Progress
from profiler.replay import SETTLE_TIMEOUT_S, by_own_id
from profiler.transfers import read_transfers, record_transfers_to

FIRST_SIDE_CHANNEL_PORT = 5600


class Worker:
    """Serves what the router sends, and tells it what has become of it."""

    def __init__(
        self, engine: Engine, connection: Connection, subject: Subject, warmed: dict[str, Any], progress: Progress
    ) -> None:
        self.stopped = asyncio.Event()
        self._engine = engine
        self._connection = connection
        self._subject = subject
        self._warmed = warmed
        self._progress = progress
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
        elif isinstance(message, Measure):
            self._start(self._measure(message))
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

    async def _measure(self, message: Measure) -> None:
        subject = self._subject
        shared = {name: getattr(subject, name) for name in Subject.__dataclass_fields__}
        order = Order(**shared, out=message.out, budget_s=message.budget_s)
        profile = profile_file.start_or_resume(message.out, set_up(subject))
        phases = missing_phases(profile, quick=subject.quick)
        profile["warm_up"] = self._warmed
        await state_engine(self._engine, profile, order)
        await run_phases(self._engine, phases, profile, order, self._progress)
        measured = [phase.name for phase in phases if profile_file.measured(profile, phase.name)]
        self._connection.send(Measured(measured))

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
        transfers = [each for each in read_transfers(_transfer_log(self._subject)) if each[0] >= self._began_s]
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


def _transfer_log(subject: Subject) -> Path:
    assert subject.log_dir
    return subject.log_dir / "transfers.jsonl"


async def _warm(engine: Engine, subject: Subject, progress: Progress) -> dict[str, Any]:
    """Where no KV counts as arrived, prompts are prefilled, so a profile's warm-up would take minutes."""
    if subject.settings.kv_connector == "ArrivedKVConnector":
        return await warm(engine, subject, progress)
    await prefill.groups(engine, prefill.QUICK_GRID if subject.quick else prefill.GRID, 1)
    for batch in (64, 16, 4, 1):
        await engine.batch([128] * batch, [40] * batch, streamed=True)
    await engine.arrange_blocks("scattered")
    progress.say("warm")
    return {}


async def _work(connection: Connection, subject: Subject, progress: Progress) -> None:
    record_transfers_to(_transfer_log(subject))
    async with started(subject, set_up(subject), progress) as engine:
        warmed = await _warm(engine, subject, progress)
        connection.send(Up({"num_gpu_blocks": engine.num_gpu_blocks, "block_size": engine.block_size}))
        worker = Worker(engine, connection, subject, warmed, progress)
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
    # Several engines that compile the same at the same time must not write to one cache.
    cache = os.environ.get("VLLM_CACHE_ROOT", Path.home() / ".cache" / "vllm")
    os.environ["VLLM_CACHE_ROOT"] = str(Path(cache) / f"worker-{gpu}")
    port = int(os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT", FIRST_SIDE_CHANNEL_PORT)) + gpu
    os.environ["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(port)
    try:
        asyncio.run(_work(connection, subject, Progress(f"worker {gpu}: ")))
    except Exception as error:  # noqa: BLE001  # the router's process is the one to say it
        connection.send(Failed(f"{type(error).__name__} {error}".strip()))
