"""How every verb ends: what can happen to a program becomes one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from io import UnsupportedOperation
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from sunsim.errors import ClusterLostError, InputError, SimulationError, clipped
from sunsim.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FAILED = 1
BAD_INPUT = 2
MISSED = 3
INTERRUPTED = 130
UNREAD = 141

# Typer names no base of the errors in what is given on the command line but this one of them.
_UsageError: Any = typer.BadParameter.__bases__[0]


class Program(TyperGroup):
    """The group of all verbs; its `main` is where each of them begins and ends."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run what `args`, or else the command line, ask for, and exit."""
        _prepare()
        with ended():
            with self.make_context(
                prog_name or self.name, list(sys.argv[1:] if args is None else args), **extra
            ) as made:
                self.invoke(made)
            sys.stdout.flush()
        sys.exit(0)


@contextmanager
def ended() -> Iterator[None]:
    """Exit as the block's exception says. What no user can cause is passed on, to be seen whole."""
    try:
        yield
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except InputError as error:
        _leave(BAD_INPUT, str(error))
    except _UsageError as error:
        _leave(BAD_INPUT, " ".join(error.format_message().split()))
    except SimulationError as error:
        _leave(FAILED, f"a simulation failed: {error}")
    except ClusterLostError as error:
        _leave(FAILED, str(error))
    except KeyboardInterrupt as error:
        _leave(INTERRUPTED, str(error) or "interrupted, nothing was written")
    except SystemExit as error:
        # Rich ends the program so when nobody reads what it prints.
        if isinstance(error.__context__, BrokenPipeError):
            _leave(UNREAD)
        raise
    except BrokenPipeError:
        _leave(UNREAD)
    except OSError as error:
        _leave(FAILED, f"{error.filename or 'standard output'}: {error.strerror or error}")
    except RecursionError:
        _leave(FAILED, "something in the input is nested too deeply to be read")
    except MemoryError as error:
        _leave(FAILED, f"out of memory{f' ({clipped(str(error))})' if str(error) else ''}")


def _leave(code: int, line: str = "") -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)
    try:
        if line:
            sys.stderr.write(f"{visible(line)}\n")
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    sys.exit(code)


def _discard(stream: TextIO) -> None:
    """What could not be written would be tried again, and complained about, when Python ends."""
    try:
        descriptor = stream.fileno()
    except UnsupportedOperation:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _prepare() -> None:
    """Make sure of the surroundings: open standard streams that can show every character, and a way to draw."""
    # No file that is opened later may take the place of a closed stream, and be written into.
    for descriptor, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            _open_in_place(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for good
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Figures are drawn into files whatever the user's notebook draws into; a backend there is none of is an error.
    os.environ["MPLBACKEND"] = "agg"


def _open_in_place(descriptor: int) -> None:
    """Closed standard output becomes a pipe that nobody reads, the others become empty."""
    if descriptor == 1:
        _, opened = os.pipe()
        # The end to read from has taken the lowest free number, which is 1, and goes with this.
    else:
        opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
