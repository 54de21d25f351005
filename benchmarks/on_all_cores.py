"""Simulations side by side, on the cores of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from sunsim.points.local import cores
from sunsim.points.progress import progress

Cell = TypeVar("Cell")
Found = TypeVar("Found")


def simulate_all(work: Sequence[Cell], simulate: Callable[[Cell], Found]) -> dict[Cell, Found]:
    """Every cell, with a bar on stderr.

    Raises:
        KeyboardInterrupt: what waits is not begun.
    """
    found = {}
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool, progress(len(work), wanted=True) as ended:
        try:
            for cell, figures in zip(work, pool.map(simulate, work), strict=True):
                found[cell] = figures
                ended(0)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return found
