"""Points on the cores of this machine."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing import get_context, resource_tracker
from multiprocessing.context import SpawnProcess
from threading import Lock, local
from typing import Generic, TypeVar

from sunsim.errors import InputError
from sunsim.points.outcome import Outcome
from sunsim.points.worker import serve

P = TypeVar("P")
KILLED = "its process was killed, perhaps for want of memory"
FAILED = 1
"""Exit code of a Python process that ended with an exception."""
NO_PROCESS = 'cannot be imported by the processes that simulate, must be a file that asks for them under if __name__ == "__main__":'
SILENT = "its process gave no sign of life for a minute, perhaps because somebody stopped it"

LOOK_S = 1.0
SILENT_LOOKS = 60
"""After so many looks in vain a process counts as stopped. Looks, because while the machine sleeps nobody looks."""

# Spawned, because forking a process that has threads can hang.
_SPAWN = get_context("spawn")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(points: Iterable[P], jobs: int, work: Callable[[P], Outcome]) -> Generator[tuple[P, Outcome], None, None]:
    """Lets `work` simulate `points` in `jobs` processes; yields each with its outcome, in the order in which they end.

    A deque of points is emptied, and may be added to while it is.

    Not the standard library's pool of processes, nor joblib's: both give up with all of them when one is killed, and wait
    for ever for one that is stopped. Here a process that is killed, or shows no sign of life, costs the point that it had.
    That is tried again when no other is simulated; if it is then lost again it has itself to blame.
    """
    waiting = points if isinstance(points, deque) else deque(points)
    suspects: deque[P] = deque()
    while waiting or suspects:
        if suspects:
            lost = yield from _batch(suspects, 1, 0, work)
            for point, loss in lost:
                yield point, Outcome([], str(loss))
        else:
            lost = yield from _batch(waiting, jobs, jobs, work)
            suspects.extend(point for point, _ in lost)


class LostError(Exception):
    """A process has gone, or is as good as gone, before it was done; says why."""


def _batch(
    waiting: deque[P], jobs: int, ahead: int, work: Callable[[P], Outcome]
) -> Generator[tuple[P, Outcome], None, list[tuple[P, LostError]]]:
    """Takes from `waiting` until it is empty; returns the points whose processes were lost, and how.

    `ahead` points more than processes are handed out, so that none waits for the next.
    """
    running: dict[Future[Outcome], P] = {}
    lost: list[tuple[P, LostError]] = []
    resource_tracker.ensure_running()  # where Ctrl-C is not blocked, since it would let it through again
    crew = _Crew(work)
    with ThreadPoolExecutor(jobs, initializer=_block_ctrl_c) as threads:
        try:
            while running or waiting:
                while waiting and len(running) < jobs + ahead:
                    point = waiting.popleft()
                    running[threads.submit(crew.simulate, point)] = point
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    point, loss = running.pop(future), future.exception()
                    if isinstance(loss, LostError):
                        lost.append((point, loss))
                    else:
                        yield point, future.result()
        finally:
            crew.dismiss()
    return lost


class Aside(Generic[P]):
    """A process beside this one, started at once, so that it is ready when there is something for it to do."""

    def __init__(self, work: Callable[[P], Outcome], first: P) -> None:
        """`first`: what it begins with."""
        resource_tracker.ensure_running()
        self._crew = _Crew(work)
        self._thread = ThreadPoolExecutor(1, initializer=_block_ctrl_c)
        self._thread.submit(self._crew.simulate, first)

    def ask(self, point: P) -> Future[Outcome]:
        """What `work` makes of the point there; a `LostError` if the process is lost."""
        return self._thread.submit(self._crew.simulate, point)

    def dismiss(self) -> None:
        """Ends the process: nobody wants more of it."""
        self._crew.dismiss()
        self._thread.shutdown()


def _block_ctrl_c() -> None:
    """Processes that this thread starts are without it from their first moment on; this process's main thread has it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _Crew(Generic[P]):
    """Processes, one for each thread that asks."""

    def __init__(self, work: Callable[[P], Outcome]) -> None:
        self._work = work
        self._mine = local()
        self._all: set[_Worker] = set()
        self._changing = Lock()
        self._dismissed = False

    def simulate(self, point: P) -> Outcome:
        """In this thread's process.

        Raises:
            LostError: that was lost; the next call starts another.
        """
        worker: _Worker | None = getattr(self._mine, "worker", None)
        if not worker:
            self._mine.worker = worker = self._hire()
        try:
            return worker.ask(self._work, point)
        except LostError:
            self._mine.worker = None
            worker.kill()
            raise

    def dismiss(self) -> None:
        """Ends all processes: what they were asked for has come, or nobody wants it any more."""
        with self._changing:
            self._dismissed = True
        for worker in self._all:
            worker.kill()

    def _hire(self) -> _Worker:
        with self._changing:
            if self._dismissed:
                raise LostError(KILLED)
            worker = _Worker()
            self._all.add(worker)
        return worker


class _Worker:
    """A process that simulates one point after the other, and shows that it lives."""

    def __init__(self) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process: SpawnProcess = _SPAWN.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        self._began = False
        theirs.close()

    def ask(self, work: Callable[[P], Outcome], point: P) -> Outcome:
        """What `work` makes of the point there.

        Raises:
            InputError: it cannot even begin, as it imports the script that asks for it.
            LostError: the process has ended, or gives no sign of life.
        """
        looks = 0
        try:
            self._connection.send((work, point))
            while looks < SILENT_LOOKS:
                if not self._connection.poll(LOOK_S):
                    looks += 1
                    continue
                looks = 0
                said: Outcome | None = self._connection.recv()
                self._began = True
                if said is not None:
                    return said
        except (EOFError, OSError) as error:
            self._process.join(LOOK_S)
            if not self._began and self._process.exitcode == FAILED:
                raise InputError(NO_PROCESS, "script") from error
            raise LostError(KILLED) from error
        raise LostError(SILENT)

    def kill(self) -> None:
        """Ends the process, though it may be stopped, and waits for its end."""
        self._process.kill()
        self._process.join()
