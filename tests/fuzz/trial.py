"""What the command line makes of a mutant: it is refused in one line with its place, or it runs."""

from __future__ import annotations

import re
import shutil
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from sunsim.cli import app
from tests.fuzz.mutants import KINDS

LIMIT_S = 20.0
PICTURES = 16
"""One mutant in so many is drawn too; that takes a hundred times as long as the rest."""
PLACE = re.compile(r"(?P<file>/\S+?|--[a-z-]+|scenario [^:]+)(:\d+)?: \S")


class Fault(NamedTuple):
    """What should not have been, and the files that it came from."""

    command: str
    what: str


class _TooLongError(BaseException):
    """Not an Exception, which a verb might take for one of its own."""


@contextmanager
def _within(limit_s: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def make(seed: int, folder: Path, only: str | None = None) -> str:
    """Writes the mutant of this number, of the kind `only` if given; its kind."""
    random = Random(seed)
    kind = only or random.choice(["scenario", "scenario", "scenario", "profile", "trace"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in KINDS[kind](random).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", errors="surrogatepass"))
    return kind


def outcome(folder: Path, *, drawn: bool = False) -> tuple[str, Fault | None]:
    """``refused`` or ``ran``, and what was wrong about it, if anything."""
    scenario = str(folder / "scenario.yaml")
    code, fault = _verb(["check", scenario])
    if fault or code:
        return "refused", fault
    few = ["--set", "workload.requests=20", "--set", "sweep={}", "--quiet", "--out", str(folder / "out")]
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr("sunsim.pictures.draw", lambda *_: None)
        code, fault = _verb(["run", scenario, *few])
    shutil.rmtree(folder / "out", ignore_errors=True)
    return "refused" if code else "ran", fault


def _verb(arguments: list[str]) -> tuple[int, Fault | None]:
    command = f"sunsim {' '.join(arguments)}"
    try:
        with _within(LIMIT_S):
            result = CliRunner().invoke(app, arguments)
    except _TooLongError as late:
        return -1, Fault(
            command, f"took more than {LIMIT_S:g} s:\n{''.join(traceback.format_tb(late.__traceback__)[-4:])}"
        )
    if result.exception and not isinstance(result.exception, SystemExit):
        return result.exit_code, Fault(command, "".join(traceback.format_exception(result.exception)))
    if result.exit_code not in (0, 2):
        return result.exit_code, Fault(command, f"exit code {result.exit_code}: {result.stderr}")
    if result.exit_code == 2 and (
        result.stdout
        or not PLACE.match(result.stderr)
        or not result.stderr.removesuffix("\n").isprintable()
        or len(result.stderr) > 2000
    ):
        return 2, Fault(command, f"no line with its place: {result.stderr[:3000]!r}")
    return result.exit_code, None
