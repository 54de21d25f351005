"""How far a sweep, a plan or the figures are, on stderr, and only where that is a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g} points/s" if task.speed else "")


class Ended(Protocol):
    """One more point has ended, `failed` of all so far in vain; `total` says anew how many there are."""

    def __call__(self, failed: int, total: int | None = None) -> None: ...


@contextmanager
def progress(total: int, *, wanted: bool) -> Iterator[Ended]:
    """A bar of `total` points, on stderr; to be told when one has ended."""
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

        def ended(failed: int, total: int | None = None) -> None:
            description = f"points, {failed} failed" if failed else "points"
            bar.update(task, advance=1, description=description, total=total)

        yield ended
