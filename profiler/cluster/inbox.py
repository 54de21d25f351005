"""Ends of requests that a live worker serves one by one, outside any run."""

import asyncio
from collections.abc import Callable
from typing import Any

from profiler.cluster.handle import WorkerError, WorkerHandle
from profiler.cluster.messages import Broken, Done, Serve

TIMEOUT_S = 30.0


class Inbox:
    """Ends of requests on a worker, by number; `on_end` hears of those that nobody waits for."""

    def __init__(self, worker: WorkerHandle, on_end: Callable[[Done], None] | None = None) -> None:
        self._worker = worker
        self._awaited: dict[int, asyncio.Future[Done]] = {}
        self._on_end = on_end
        worker.on_message = self._take

    async def serve(self, order: Serve) -> Done:
        """Has the worker serve it; raises WorkerError if that fails, and TimeoutError if it comes to no end."""
        awaited: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._awaited[order.index] = awaited
        self._worker.send(order)
        either: set[asyncio.Future[Any]] = {awaited, self._worker.failed}
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            self._worker.failed.result()
        return awaited.result()

    def _take(self, message: Any) -> None:
        if not isinstance(message, Done | Broken):
            return
        awaited = self._awaited.pop(message.index, None)
        if isinstance(message, Broken):
            if awaited and not awaited.done():
                awaited.set_exception(WorkerError(f"worker {self._worker.gpu}: {message.reason}"))
        elif awaited and not awaited.done():
            awaited.set_result(message)
        elif self._on_end:
            self._on_end(message)
