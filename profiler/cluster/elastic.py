"""`elastic`: one decode worker serves; a second one is started meanwhile, takes requests, is drained, and stopped.

What comes out says how long each part took, by the clock of the router's process, which all processes of a host share.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from profiler.cluster import worker
from profiler.cluster.handle import Main, WorkerError, WorkerHandle, first_of
from profiler.cluster.messages import Begin, Broken, Done, End, Ended, Ready, Serve, Up
from profiler.cluster.play import DRAIN_TIMEOUT_S, Run
from profiler.measure import Subject, set_up
from profiler.progress import Progress
from profiler.recording import RequestStamps
from profiler.run_file import write_table
from sunsim.clock import to_s
from sunsim.files import replacing

SCHEMA_VERSION = 1
START_TIMEOUT_S = 400.0

# What vLLM 0.24 says in its log of the parts of a start, in seconds.
LOGGED = {
    "weights_s": r"Model loading took .*?([\d.]+) seconds",
    "compile_s": r"torch\.compile took ([\d.]+) s in total",
    "first_step_s": r"Initial profiling/warmup run took ([\d.]+) s",
    "graphs_s": r"Graph capturing finished in ([\d.]+) secs",
    "engine_init_s": r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticOrder:
    """What to play and where to put it.

    grow_s: when in the run the second worker is asked for. serve_s: for how long it gets requests.
    """

    subject: Subject
    run: Run
    out: Path
    grow_s: float
    serve_s: float
    main: Main = worker.main


class _Pool:
    """One worker or two; a request goes to the one with the fewest unfinished ones that may get any."""

    def __init__(self, order: ElasticOrder, logs: Path) -> None:
        self._order = order
        self._logs = logs
        self.open: list[WorkerHandle] = []
        self.unfinished: dict[int, int] = {}
        self.emptied: dict[int, asyncio.Event] = {}
        self.stamps: dict[int, tuple[int, float, RequestStamps]] = {}
        self._sent: dict[int, tuple[WorkerHandle, float]] = {}
        self.all_done = asyncio.Event()

    def start(self, gpu: int) -> WorkerHandle:
        """A worker that is coming up."""
        subject = replace(self._order.subject, log_dir=self._logs / f"worker-{gpu}")
        return WorkerHandle(subject, gpu, self._order.main)

    async def take_in(self, worker: WorkerHandle) -> None:
        """It gets requests from now on."""
        worker.send(Begin(1, None))
        await worker.next(Ready)
        worker.on_message = self._heard
        self.unfinished[worker.gpu] = 0
        self.emptied[worker.gpu] = asyncio.Event()
        self.open.append(worker)

    def send(self, index: int, prompt_tokens: int, output_tokens: int) -> None:
        """A request comes."""
        least = min(self.open, key=lambda each: self.unfinished[each.gpu])
        self.unfinished[least.gpu] += 1
        self._sent[index] = least, time.monotonic()
        least.send(Serve(index, "decode", prompt_tokens, output_tokens))

    async def drain(self, worker: WorkerHandle) -> None:
        """It gets no more requests; returns when its last one has ended."""
        self.open.remove(worker)
        if self.unfinished[worker.gpu]:
            await self.emptied[worker.gpu].wait()

    def _heard(self, message: Any) -> None:
        if isinstance(message, Broken):
            self._sent[message.index][0].give_up(f"request {message.index}: {message.reason}")
        if not isinstance(message, Done):
            return
        worker, sent_s = self._sent[message.index]
        self.stamps[message.index] = worker.gpu, sent_s, message.stamps
        self.unfinished[worker.gpu] -= 1
        if worker not in self.open and not self.unfinished[worker.gpu]:
            self.emptied[worker.gpu].set()
        if len(self.stamps) == len(self._order.run.requests):
            self.all_done.set()


def logged_parts(log: str) -> dict[str, float]:
    """Seconds that vLLM's log names for parts of a start; the last of each, as earlier ones may be of other sizes."""
    found = {name: re.findall(pattern, log) for name, pattern in LOGGED.items()}
    return {name: float(values[-1]) for name, values in found.items() if values}


def _parts(asked_s: float, up: Up, log: Path) -> dict[str, Any]:
    """From the asking for a worker: until its process ran, until the engine was up, until it was warm."""
    parts = {
        "process_s": up.began_s - asked_s,
        "engine_s": up.engine_s - asked_s,
        "warm_s": up.warm_s - asked_s,
    }
    said = logged_parts(log.read_text(errors="replace")) if log.exists() else {}
    return {name: round(value, 3) for name, value in (parts | said).items()}


async def _up(worker: WorkerHandle) -> Up:
    async with asyncio.timeout(START_TIMEOUT_S):
        return await worker.next(Up)


async def _submit(pool: _Pool, run: Run, start_s: float) -> None:
    requests, loop = run.requests, asyncio.get_running_loop()
    due = asyncio.Event()
    for index, arrival_ps in enumerate(requests.arrival_ps.tolist()):
        at_s = start_s + to_s(arrival_ps)
        if at_s > loop.time():
            due.clear()
            loop.call_at(at_s, due.set)
            await due.wait()
        pool.send(index, int(requests.prompt_tokens[index]), int(requests.output_tokens[index]))


async def _grow_and_shrink(pool: _Pool, order: ElasticOrder, logs: Path, progress: Progress) -> dict[str, Any]:
    """The second worker's life."""
    asked_s = time.monotonic()
    second = pool.start(1)
    try:
        up = await _up(second)
        progress.say(f"the second worker is up after {time.monotonic() - asked_s:.1f} s")
        await pool.take_in(second)
        open_s = time.monotonic()
        await asyncio.sleep(order.serve_s)
        drain_s = time.monotonic()
        left = pool.unfinished[1]
        await pool.drain(second)
        empty_s = time.monotonic()
        second.send(End())
        await second.next(Ended)
        stop_s = time.monotonic()
    finally:
        await second.stop()
    stopped_s = time.monotonic()
    own = [stamps for gpu, _, stamps in pool.stamps.values() if gpu == 1]
    first_s = min(stamps.first_token_s for stamps in own if stamps.first_token_s)
    progress.say(f"the second worker served {len(own)} requests, was empty after {empty_s - drain_s:.1f} s")
    return {
        "asked_s": asked_s,
        "open_s": open_s,
        "drain_s": drain_s,
        "start": _parts(asked_s, up, logs / "worker-1" / "engine.log")
        | {"open_s": round(open_s - asked_s, 3), "first_token_s": round(first_s - asked_s, 3)},
        "stop": {
            "requests_left": left,
            "drain_s": round(empty_s - drain_s, 3),
            "stop_s": round(stopped_s - stop_s, 3),
        },
        "requests": len(own),
    }


async def elastic(order: ElasticOrder, progress: Progress) -> dict[str, Any]:
    """Plays it; the times, which are also in `RUN.elastic.json`, and a row a request in `RUN.elastic.parquet`.

    Raises WorkerError if a worker fails.
    """
    fresh = set_up(order.subject)
    logs = order.subject.log_dir or order.out / "logs"
    pool = _Pool(order, logs)
    asked_s = time.monotonic()
    first = pool.start(0)
    try:
        up = await _up(first)
        begun = _parts(asked_s, up, logs / "worker-0" / "engine.log")
        progress.say(f"the first worker is up: {begun}")
        await pool.take_in(first)
        start_s = time.monotonic() + 0.25

        async def second() -> dict[str, Any]:
            await asyncio.sleep(start_s + order.grow_s - time.monotonic())
            return await _grow_and_shrink(pool, order, logs, progress)

        last_s = to_s(int(order.run.requests.arrival_ps[-1]))
        async with asyncio.timeout(last_s + DRAIN_TIMEOUT_S), asyncio.TaskGroup() as group:
            grown = group.create_task(second())
            group.create_task(_submit(pool, order.run, start_s))
            group.create_task(_or_fail(pool.all_done, first))
        first.send(End())
        await first.next(Ended)
        stop_s = time.monotonic()
    except ExceptionGroup as error:
        raise first_of(error) from error
    finally:
        await first.stop()
    life = grown.result()
    same = ("card", "gpu", "host", "versions", "model", "variant", "weights", "engine_args")
    content = {
        "schema_version": SCHEMA_VERSION,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{key: fresh[key] for key in same},
        "first": {"start": begun, "stop": {"stop_s": round(time.monotonic() - stop_s, 3)}},
        "second": life
        | {key: round(life[key] - start_s, 3) for key in ("asked_s", "open_s", "drain_s")}
        | _tpot_ms(pool, life),
    }
    order.out.mkdir(parents=True, exist_ok=True)
    _write_rows(order, pool, start_s)
    with replacing(order.out / f"{order.run.name}.elastic.json", "a file for times") as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    return content


async def _or_fail(done: asyncio.Event, worker: WorkerHandle) -> None:
    waits = asyncio.ensure_future(done.wait())
    either: set[asyncio.Future[Any]] = {waits, worker.failed}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if worker.failed.done():
        waits.cancel()
        raise WorkerError(str(worker.failed.exception()))


def _tpot_ms(pool: _Pool, life: dict[str, Any]) -> dict[str, float]:
    """Mean TPOT of the requests that were sent before the second worker was asked for, while it came up, and with it."""
    windows = {
        "before": (0.0, life["asked_s"]),
        "coming": (life["asked_s"], life["open_s"]),
        "both": (life["open_s"], life["drain_s"]),
        "after": (life["drain_s"], float("inf")),
    }
    found = {}
    for name, (begin_s, end_s) in windows.items():
        values = [
            (stamps.last_token_s - stamps.first_token_s) / (stamps.output_tokens - 1) * 1000
            for _, sent_s, stamps in pool.stamps.values()
            if begin_s <= sent_s < end_s and stamps.first_token_s and stamps.last_token_s and stamps.output_tokens > 1
        ]
        if values:
            found[f"mean_tpot_{name}_ms"] = round(float(np.mean(values)), 4)
    return found


def _write_rows(order: ElasticOrder, pool: _Pool, start_s: float) -> None:
    requests = order.run.requests
    rows = [pool.stamps[i] for i in range(len(requests))]
    columns = {
        "request_id": list(range(len(requests))),
        "arrival_s": to_s(requests.arrival_ps).tolist(),
        "prompt_tokens": requests.prompt_tokens.tolist(),
        "output_tokens": requests.output_tokens.tolist(),
        "worker": [gpu for gpu, _, _ in rows],
        "submit_s": [sent_s - start_s for _, sent_s, _ in rows],
    } | {
        f"client_{name}": [getattr(stamps, name) - start_s for _, _, stamps in rows]
        for name in ("first_token_s", "last_token_s")
    }
    write_table(order.out / f"{order.run.name}.elastic.parquet", columns, {"stream": order.run.name})
