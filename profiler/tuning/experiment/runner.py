"""Does jobs in several processes, some a device, within a budget; a job that fails or a process that dies ends only itself."""

import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from statistics import fmean
from typing import Any

from profiler.progress import Progress
from profiler.tuning.experiment.order import Job, Order

TRIES = 2
TICK_S = 1.0
LATER_S = 20.0
"""Seconds after which processes start that have to wait for others' results anyway."""
DIED = "its process has died"
STOP_S = 5.0
"""Seconds that a process has to end by itself."""


@dataclass(slots=True)
class _Process:
    number: int
    device: str
    process: Any
    pipe: Connection
    job: Job | None = None


def serve_jobs(pipe: Connection, order: Order, folder: Path, device: str, who: str) -> None:
    """The life of a process: takes jobs and says "done" or why not, until it is told to end."""
    import torch  # noqa: PLC0415 - only where jobs are done

    from profiler.tuning.experiment.work import Worker, write_json  # noqa: PLC0415 - likewise

    # More threads than one wait for each other at these sizes.
    torch.set_num_threads(1)
    if device != "cpu":
        torch.cuda.set_device(device)
    worker = Worker(order, folder, device, Progress(who).say)
    while (job := pipe.recv()) is not None:
        begin = time.time()
        try:
            result = worker.do(job)
            about = {"device": device, "seconds": time.time() - begin}
            write_json(folder / "done" / f"{job.name}.json", {**about, **result})
            pipe.send("")
        except Exception:  # noqa: BLE001 - whatever it is, it is this job's alone
            # A CUDA context with an error in it does no more jobs, so the process ends and another takes its place.
            pipe.send(traceback.format_exc())
            return


class Runner:
    """Jobs, the processes that do them, and what has come of each."""

    def __init__(
        self,
        order: Order,
        jobs: Sequence[Job],
        folder: Path,
        *,
        devices: Sequence[str],
        per_device: int,
        deadline: float,
        progress: Progress,
        serve: Callable[[Connection, Order, Path, str, str], None] = serve_jobs,
    ) -> None:
        self.order, self.folder, self.deadline, self.progress = order, folder, deadline, progress
        self.done = {job.name for job in jobs if self._file(job).exists()}
        self.waiting = [job for job in jobs if job.name not in self.done]
        self.failures: dict[str, int] = {}
        self.seconds: dict[tuple[str, str, str], list[float]] = {}
        self._serve = serve
        self._context = get_context("spawn")
        places = [
            (number * len(devices) + i, device) for number in range(per_device) for i, device in enumerate(devices)
        ]
        # Until the models are there one process a device has work, and gets to it sooner if no others start beside it.
        first = len(devices) if any(job.alone for job in self.waiting) else len(places)
        self._processes = [self._started(*place) for place in places[:first]]
        self._later = places[first:]

    def _file(self, job: Job) -> Path:
        return self.folder / "done" / f"{job.name}.json"

    def _started(self, number: int, device: str) -> _Process:
        here, there = self._context.Pipe()
        who = f"[{device} {number}] "
        process = self._context.Process(
            target=self._serve, args=(there, self.order, self.folder, device, who), daemon=True
        )
        process.start()
        there.close()
        return _Process(number, device, process, here)

    def run(self) -> None:
        """Until all is done, nothing more can be, or the deadline."""
        begin = time.time()
        while time.time() < self.deadline:
            if time.time() - begin > LATER_S:
                self._processes += [self._started(*place) for place in self._later]
                self._later = []
            self._hand_out()
            busy = [each for each in self._processes if each.job is not None]
            if not busy:
                break
            for pipe in wait([each.pipe for each in busy], timeout=TICK_S):
                self._hear(next(each for each in busy if each.pipe is pipe))
        self.stop()

    def _hand_out(self) -> None:
        for each in self._processes:
            if each.job is None and (job := self._next(each.device)) is not None:
                self.waiting.remove(job)
                each.job = job
                try:
                    each.pipe.send(job)
                except OSError:
                    self._failed(each, job, DIED)

    def _next(self, device: str) -> Job | None:
        """The first job that can begin on a device now and is thought to end in time."""
        here = [each.job for each in self._processes if each.device == device and each.job is not None]
        if any(job.alone for job in here):
            return None
        for job in self.waiting:
            if job.alone and here:
                continue
            if self.done.issuperset(job.after) and self._fits(job):
                return job
        return None

    def _fits(self, job: Job) -> bool:
        took = self.seconds.get((job.kind, job.size, job.method), [0.0])
        return time.time() + fmean(took) < self.deadline

    def _hear(self, each: _Process) -> None:
        job = each.job
        assert job is not None
        try:
            answer = each.pipe.recv()
        except (EOFError, OSError):
            answer = DIED
        if answer:
            self._failed(each, job, answer)
            return
        each.job = None
        self.done.add(job.name)
        seconds = json.loads(self._file(job).read_text(encoding="utf-8"))["seconds"]
        self.seconds.setdefault((job.kind, job.size, job.method), []).append(seconds)
        self.progress.say(f"{job.name} done in {seconds:.1f} s on {each.device}, {len(self.waiting)} wait")

    def _failed(self, each: _Process, job: Job, why: str) -> None:
        """Puts the job back once, and another process in the place of the one that could not do it."""
        self.failures[job.name] = self.failures.get(job.name, 0) + 1
        again = self.failures[job.name] < TRIES
        self.progress.say(f"{job.name} failed{', is tried again' if again else ''}: {why}")
        if again:
            self.waiting.insert(0, job)
        each.process.join(STOP_S)
        self._processes[self._processes.index(each)] = self._started(each.number, each.device)

    def stop(self) -> None:
        """Ends all processes: those at rest by themselves, others at once."""
        for each in self._processes:
            if each.job is None and each.process.is_alive():
                try:
                    each.pipe.send(None)
                except OSError:
                    continue
            else:
                each.process.terminate()
        for each in self._processes:
            each.process.join(STOP_S)
            if each.process.is_alive():
                each.process.kill()
