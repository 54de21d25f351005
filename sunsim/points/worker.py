"""What a worker process does. Imports nothing heavy, so that what it sets is set before numpy looks."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing import parent_process
from threading import Lock, Thread
from time import sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BEAT_S = 0.25


def serve(connection: Connection[Any, Any]) -> None:
    """Answers pairs of a function and its argument with what the function returns; None in between: still there."""
    for name in THREADS:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    speaking = Lock()
    Thread(target=_end_with_parent, daemon=True).start()
    Thread(target=_beat, args=(connection, speaking), daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            work, argument = connection.recv()
            answer = work(argument)
            with speaking:
                connection.send(answer)


def _beat(connection: Connection[Any, Any], speaking: Lock) -> None:
    """However long the main thread computes; a process that is stopped falls silent."""
    with suppress(ConnectionError):
        while True:
            with speaking:
                connection.send(None)
            sleep(BEAT_S)


def _end_with_parent() -> None:
    # Whoever waits for work waits for ever when whoever gives it is gone.
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)
