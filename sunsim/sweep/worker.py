"""How a worker process begins. Imports nothing heavy, so that what it sets is set before numpy looks."""

from __future__ import annotations

import os
import signal
from multiprocessing import parent_process
from threading import Thread

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start() -> None:
    """One thread a process, Ctrl-C left to the parent, and an end when the parent was killed."""
    for name in THREADS:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A pool's processes wait for work for ever when whoever gives it is gone.
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)
