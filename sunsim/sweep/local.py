"""Points on the cores of this machine."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import TYPE_CHECKING, TypeVar

from sunsim.sweep.point import Outcome
from sunsim.sweep.worker import start

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

P = TypeVar("P")
KILLED = "its process was killed, perhaps for want of memory"


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(points: Iterable[P], jobs: int, work: Callable[[P], Outcome]) -> Generator[tuple[P, Outcome], None, None]:
    """Lets `work` simulate `points` in `jobs` processes; yields each with its outcome, in the order in which they end.

    A deque of points is emptied, and may be added to while it is.

    The standard library's pool and not joblib's: both give up when a process is killed, but this one tells which points
    it had. Those are tried again one by one; one that is then killed again has itself to blame.
    """
    waiting = points if isinstance(points, deque) else deque(points)
    suspects: deque[P] = deque()
    while waiting or suspects:
        if suspects:
            broken = yield from _batch(suspects, 1, 0, work)
            for point in broken:
                yield point, Outcome([], KILLED)
        else:
            broken = yield from _batch(waiting, jobs, jobs, work)
            suspects.extend(broken)


def _batch(
    waiting: deque[P], jobs: int, ahead: int, work: Callable[[P], Outcome]
) -> Generator[tuple[P, Outcome], None, list[P]]:
    """Takes from `waiting` until it is empty or a process was killed; returns the points that this cost.

    `ahead` points more than processes are handed out, so that none waits for the next.
    """
    running: dict[Future[Outcome], P] = {}
    broken: list[P] = []
    with _processes(jobs) as pool:
        while running or (waiting and not broken):
            while waiting and not broken and len(running) < jobs + ahead:
                point = waiting.popleft()
                try:
                    running[pool.submit(work, point)] = point
                except BrokenProcessPool:
                    broken.append(point)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                point = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    broken.append(point)
                else:
                    yield point, future.result()
    return broken


@contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """A pool, whose processes are killed and not waited for when the block is left early."""
    others = set(active_children())
    # Spawned, because forking a process that has threads (the progress bar's) can hang.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=start)
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
