"""A worker of a live cluster: an engine and its client in a process of their own, as in a deployment."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from profiler import profile_file
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
from profiler.engine import Engine, count_preemptions, keep_external_tokens, undisturbed
from profiler.measure import Order, Subject, missing_phases, run_phases, set_up, started, state_engine, warm
from profiler.progress import Progress
from profiler.replay import SETTLE_TIMEOUT_S, by_own_id
from profiler.start import EngineStartError
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
        keep_external_tokens()
        self._run = 0
        self._quiet = contextlib.ExitStack()
        self._requests_under_way: set[asyncio.Task[None]] = set()
        self._every_s: float | None = None
        self._report: asyncio.Handle | None = None
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
            task = self._start(self._serve(message))
            self._requests_under_way.add(task)
            task.add_done_callback(self._requests_under_way.discard)
        elif isinstance(message, Begin):
            self._start(self._begin(message))
        elif isinstance(message, Measure):
            self._start(self._measure(message))
        elif isinstance(message, Abort):
            self._abort()
        elif isinstance(message, End):
            self._start(self._end())
        elif isinstance(message, Stop):
            self.stopped.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._connection.send(Failed(f"{type(error).__name__} {error}".strip()))

    async def _begin(self, begin: Begin) -> None:
        """Ready once nothing of an earlier run is left."""
        await self._clear()
        self._preemptions.clear()
        self._run = begin.run
        self._every_s = begin.every_s
        self._received = self._requests = self._tokens = 0
        self._began_s = time.monotonic()
        self._quiet.enter_context(undisturbed())
        self._connection.send(Ready(begin.run))

    async def _clear(self) -> None:
        """Returns when nothing is left of an earlier run, whether that came to its end or broke off."""
        self._abort()
        if self._report:
            self._report.cancel()
            self._report = None
        self._quiet.close()
        await asyncio.wait_for(self._engine.settle(), SETTLE_TIMEOUT_S)
        if self._subject.settings.enable_prefix_caching:
            await self._engine.forget()
        self._engine.drain_steps()

    def _abort(self) -> None:
        for task in self._requests_under_way:
            task.cancel()

    async def _measure(self, message: Measure) -> None:
        await self._clear()
        subject = self._subject
        shared = {name: getattr(subject, name) for name in Subject.__dataclass_fields__}
        order = Order(**shared, out=message.out, budget_s=message.budget_s)
        profile = profile_file.start_or_resume(message.out, set_up(subject))
        phases = missing_phases(profile, subject)
        profile["warm_up"] = self._warmed
        await state_engine(self._engine, profile, order)
        await run_phases(self._engine, phases, profile, order, self._progress)
        outcomes = {
            phase.name: None if profile_file.measured(profile, phase.name) else str(profile["phases"].get(phase.name))
            for phase in phases
        }
        self._connection.send(Measured(outcomes))

    async def _serve(self, order: Serve) -> None:
        answer: list[int] = []
        run = self._run

        def on_tokens(new: Sequence[int]) -> None:
            self._tokens += len(new)
            if order.prompt:
                answer.extend(new)
            self._changed()

        self._changed()
        try:
            stamps = await self._engine.request(
                order.kind,
                order.prompt or order.prompt_tokens,
                order.output_tokens,
                on_tokens=on_tokens,
                kv_transfer_params=order.kv_transfer_params,
            )
        except Exception as error:  # noqa: BLE001  # whether the engine can go on is seen when the next run begins
            self._connection.send(Broken(run, order.index, f"{type(error).__name__} {error}".strip()))
            return
        self._requests -= 1
        self._tokens -= order.prompt_tokens + order.output_tokens
        self._connection.send(Done(run, order.index, stamps, answer))
        self._changed()

    async def _end(self) -> None:
        ended_s = time.monotonic()
        self._quiet.close()
        await asyncio.wait_for(self._engine.settle(), SETTLE_TIMEOUT_S)
        # Not those of the request that settles it.
        steps = [step for step in self._engine.drain_steps() if step.scheduled_s < ended_s]
        transfers = [each for each in read_transfers(_transfer_log(self._subject)) if each.end_s >= self._began_s]
        self._connection.send(Ended(steps, by_own_id(Counter(self._preemptions)), transfers))

    def _changed(self) -> None:
        """One report for all that one step has put out, or one at the next whole multiple of the interval."""
        if self._report:
            return
        if self._every_s is None:
            self._report = self._loop.call_soon(self._send_report)
        else:
            since_s = time.monotonic() - self._began_s
            self._report = self._loop.call_later(self._every_s - since_s % self._every_s, self._send_report)

    def _send_report(self) -> None:
        self._report = None
        self._connection.send(LoadReport(self._run, self._received, self._requests, self._tokens))


def _transfer_log(subject: Subject) -> Path:
    assert subject.log_dir
    return subject.log_dir / "transfers.jsonl"


async def _work(connection: Connection, subject: Subject, progress: Progress) -> None:
    began_s = time.monotonic()
    record_transfers_to(_transfer_log(subject))
    async with started(subject, set_up(subject), progress) as engine:
        engine_s = time.monotonic()
        warmed = await warm(engine, subject, progress)
        facts = {"num_gpu_blocks": engine.num_gpu_blocks, "block_size": engine.block_size}
        connection.send(Up(facts, began_s, engine_s, time.monotonic(), engine.vocabulary))
        worker = Worker(engine, connection, subject, warmed, progress)
        loop = asyncio.get_running_loop()
        loop.add_reader(connection.fileno(), worker.read)
        try:
            await worker.stopped.wait()
        finally:
            loop.remove_reader(connection.fileno())


def visible_gpus(number: int) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` has to be for each of so many workers; raises ValueError if it names fewer GPUs."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = stated.split(",") if stated else [str(i) for i in range(number)]
    if len(names) < number:
        msg = f"--gpus: is {number}, must be at most {len(names)}, as CUDA_VISIBLE_DEVICES is {stated}"
        raise ValueError(msg)
    return names[:number]


def main(connection: Connection, subject: Subject, gpu: int) -> None:
    """The process of the worker on the GPU with this number among the visible ones."""
    # The router's process decides when to end; a Ctrl-C reaches all of the terminal's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus(gpu + 1)[gpu]
    # Several engines that compile the same at the same time must not write to one cache.
    cache = os.environ.get("VLLM_CACHE_ROOT", Path.home() / ".cache" / "vllm")
    os.environ["VLLM_CACHE_ROOT"] = str(Path(cache) / f"worker-{gpu}")
    port = int(os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT", FIRST_SIDE_CHANNEL_PORT)) + gpu
    os.environ["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(port)
    try:
        asyncio.run(_work(connection, subject, Progress(f"worker {gpu}: ")))
    except EngineStartError as error:
        connection.send(Failed(str(error)))
    except Exception as error:  # noqa: BLE001  # the router's process is the one to say it
        connection.send(Failed(f"{type(error).__name__} {error}".strip()))
