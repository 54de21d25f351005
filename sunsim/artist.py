"""Draws beside this process, where that pays: matplotlib is imported there while arms are simulated."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sunsim.points.local import Aside, LostError, cores
from sunsim.points.outcome import Outcome

MANY = 20_000
"""Requests that take as long to simulate as matplotlib takes to be imported."""

Timeline = tuple[Any, Path, tuple[float, float], dict[str, int]]
"""The arguments of `plots.worker_timeline.plot_worker_timeline`."""


class Artist:
    """Draws workers' timelines, which take as long as all other pictures of a run together."""

    def __init__(self, beside: Aside[Timeline | None] | None = None) -> None:
        self._beside = beside
        self._task: Timeline | None = None
        self._drawing: Future[Outcome] | None = None

    def begin(self, task: Timeline) -> None:
        """Begins to draw beside this process, if there is one to do so."""
        self._task = task
        self._drawing = self._beside.ask(task) if self._beside else None

    def end(self) -> None:
        """Returns when the picture is there."""
        try:
            if self._drawing:
                self._drawing.result()
                return
        except LostError:
            pass
        if self._task:
            draw(self._task)


@contextmanager
def artist(requests: int) -> Iterator[Artist]:
    """An artist for as long as the block, with a process of its own if there are that many requests in all arms."""
    if cores() < 2 or requests < MANY:
        yield Artist()
        return
    beside: Aside[Timeline | None] = Aside(draw, None)
    try:
        yield Artist(beside)
    finally:
        beside.dismiss()


def draw(task: Timeline | None) -> Outcome:
    """Imports what is needed to draw; draws what there is."""
    from plots.worker_timeline import plot_worker_timeline  # noqa: PLC0415 - only whoever draws waits for matplotlib

    if task:
        plot_worker_timeline(*task)
    return Outcome([])
