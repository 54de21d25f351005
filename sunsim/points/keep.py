"""Points simulated and kept as they end, so that whoever is stopped goes on from there."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from sunsim.points.outcome import Outcome
from sunsim.points.point import Point
from sunsim.points.progress import progress
from sunsim.points.store import Store

Run = Callable[[Sequence[Point]], Generator[tuple[Point, Outcome], None, None]]
"""Simulates points; yields each with its outcome, in the order in which they end."""


def keep_all(points: Sequence[Point], store: Store, run: Run, *, show_progress: bool) -> list[tuple[Point, str]]:
    """Simulates the points that are not kept yet; those that failed, and why.

    Raises:
        InputError: a point cannot be kept.
    """
    pending = [point for point in points if store.rows(point) is None]
    faults: list[tuple[Point, str]] = []
    if pending:
        with closing(run(pending)) as ended, progress(len(pending), wanted=show_progress) as advance:
            for point, outcome in ended:
                if outcome.fault is None:
                    store.keep(point, outcome.rows)
                else:
                    faults.append((point, outcome.fault))
                advance(len(faults))
    store.tell_damage()
    return faults
