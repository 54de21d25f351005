"""How far a sweep, a plan or the figures are, on stderr: a bar where that is a terminal, else a line now and then."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_S = 10.0
"""Between two lines."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g} points/s" if task.speed else "")


class Ended(Protocol):
    """One more point has ended, `failed` of all so far in vain; `total` says anew how many there are, `more` what else is
    done.
    """

    def __call__(self, failed: int, total: int | None = None, more: str = "") -> None: ...


@contextmanager
def progress(total: int, *, wanted: bool) -> Iterator[Ended]:
    """A bar of `total` points, or lines, on stderr; to be told when one has ended."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, transient=True, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task("points", total=total)
        ends, known, said_s = 0, total, monotonic()

        def ended(failed: int, total: int | None = None, more: str = "") -> None:
            nonlocal ends, known, said_s
            ends, known = ends + 1, total or known
            description = f"points, {failed} failed" if failed else "points"
            bar.update(task, advance=1, description=description, total=total)
            if wanted and not console.is_terminal and monotonic() - said_s >= LINE_S:
                sys.stderr.write(f"{ends} of {known} {description}{more and f'; {more}'}\n")
                said_s = monotonic()

        yield ended
