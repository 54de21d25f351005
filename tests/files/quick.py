"""Stand-ins for what takes seconds and writes no file of its own accord: processes, and the drawing of pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from sunsim.points.outcome import Outcome


def in_this_process(
    points: Sequence[Any] | deque[Any], jobs: int, work: Callable[[Any], Outcome]
) -> Iterator[tuple[Any, Outcome]]:
    """Stands in for a pool of processes."""
    waiting = points if isinstance(points, deque) else deque(points)
    while waiting:
        point = waiting.popleft()
        yield point, work(point)


def be_quick(patch: pytest.MonkeyPatch) -> None:
    """Points are simulated in this process, and pictures are files that are quickly written."""
    for module in ("sweep.run", "plan.lab", "figures.sweeps"):
        patch.setattr(import_module(f"sunsim.{module}"), "run_local", in_this_process)
    patch.setattr("matplotlib.figure.Figure.savefig", written)


def written(_: Any, to: Path | StringIO, **options: Any) -> None:
    """Stands in for drawing."""
    if isinstance(to, StringIO):
        to.write("<svg></svg>")
    else:
        Path(to).write_text(f"a picture, {Path(to).suffix} {options['dpi']}")
