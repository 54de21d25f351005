"""A worker as the router's process sees it: a pipe to send requests down, and what comes back."""

import asyncio
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from profiler.cluster import worker
from profiler.cluster.messages import Failed, Stop
from profiler.measure import Subject

Main = Callable[[Connection, Subject, int], None]
"""What a worker's process runs, given its end of the pipe, its engine, and the number of its GPU."""

Message = TypeVar("Message")

STOP_TIMEOUT_S = 20.0


class WorkerError(RuntimeError):
    """A worker cannot go on, or its process has ended."""


def first_of(error: Exception) -> Exception:
    """The first error of a group, or the one that it is."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _ignore(message: Any) -> None:
    """Between runs nobody listens."""


class WorkerHandle:
    """One worker.

    Attributes:
        gpu: its number among the visible ones.
        on_message: called with whatever the worker says that nobody waits for.
    """

    def __init__(self, subject: Subject, gpu: int, main: Main = worker.main) -> None:
        self.gpu = gpu
        self.on_message: Callable[[Any], None] = _ignore
        self._awaited: tuple[type, asyncio.Future[Any]] | None = None
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        # The parent's CUDA context or threads must not come along.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, subject, gpu))
        self._process.start()
        theirs.close()
        self._loop.add_reader(self._connection.fileno(), self._read)

    def send(self, message: Any) -> None:
        """To the worker."""
        try:
            self._connection.send(message)
        except OSError as error:
            self.give_up(f"gone: {error}")

    async def next(self, kind: type[Message]) -> Message:
        """The next message of this kind; raises WorkerError if the worker fails before."""
        awaited: asyncio.Future[Message] = self._loop.create_future()
        self._awaited = kind, awaited
        either: set[asyncio.Future[Any]] = {awaited, self.failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            self.failed.result()
        return awaited.result()

    def _read(self) -> None:
        try:
            while self._connection.poll():
                self._take(self._connection.recv())
        except (EOFError, OSError):
            self._loop.remove_reader(self._connection.fileno())
            self.give_up("its process has ended")

    def _take(self, message: Any) -> None:
        if isinstance(message, Failed):
            self.give_up(message.reason)
        elif self._awaited and isinstance(message, self._awaited[0]):
            _, awaited = self._awaited
            self._awaited = None
            # Nobody waits any more where that took too long.
            if not awaited.done():
                awaited.set_result(message)
        else:
            self.on_message(message)

    def give_up(self, reason: str) -> None:
        """Whoever waits for it hears that it failed."""
        if not self.failed.done():
            self.failed.set_exception(WorkerError(f"worker {self.gpu}: {reason}"))
            # Whoever waits hears of it; if nobody does, it is no error of its own.
            self.failed.exception()

    def ignore(self) -> None:
        """Nobody listens to it any more."""
        self.on_message = _ignore

    async def stop(self) -> None:
        """Ends the worker's process, if need be by force."""
        self._loop.remove_reader(self._connection.fileno())
        self.send(Stop())
        await asyncio.to_thread(self._process.join, STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
        self._connection.close()
