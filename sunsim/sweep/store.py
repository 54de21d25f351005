"""The points that a sweep keeps: one file each, complete or not there, found again by what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, Protocol

import sunsim
from sunsim import __version__
from sunsim.errors import InputError
from sunsim.latency.profile import find_profile
from sunsim.scenario import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sunsim.scenario import Scenario
    from sunsim.sweep.point import Row

SCHEMA_VERSION = 1
POINTS = "points"


class Storable(Protocol):
    """A simulation that can be kept."""

    def identity(self) -> dict[str, Any]:
        """All that its figures depend on, as JSON has it."""


class Store:
    """The folder of a sweep or a plan: `points/` with a file a point, and what is made from them."""

    def __init__(self, folder: Path, what: str = "sweep") -> None:
        """Makes the folder if it isn't there.

        Args:
            what: the folder is for: a sweep or a plan.

        Raises:
            InputError: it holds something else, or cannot be written.
        """
        self.folder = folder
        if folder.exists() and not (folder / POINTS).is_dir() and (not folder.is_dir() or any(folder.iterdir())):
            message = f"holds something else than a {what}, must be a new folder or a {what}'s"
            raise InputError(message, folder)
        try:
            (folder / POINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"cannot be written ({error.strerror}), must be a folder for results"
            raise InputError(message, folder) from error

    def rows(self, point: Storable) -> list[Row] | None:
        """A point's rows; None if it is not kept, or its file was damaged."""
        try:
            kept = json.loads(self._path(point).read_bytes())
        except (OSError, ValueError):
            return None
        rows: list[Row] | None = kept.get("rows") if isinstance(kept, dict) else None
        return rows

    def keep(self, point: Storable, rows: Sequence[Row]) -> None:
        """Writes a point's file, in which its scenario stands too."""
        content = point.identity() | {"rows": list(rows)}
        with replacing(self._path(point)) as path:
            path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")

    def _path(self, point: Storable) -> Path:
        return self.folder / POINTS / f"{key(point.identity())}.json"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends well: nobody sees half a file."""
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def key(identity: dict[str, Any]) -> str:
    """The name of a point: a hash of all that its figures depend on."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def identity(scenario: Scenario) -> dict[str, Any]:
    """All that a point's figures depend on: the scenario, the content of its files, and the code."""
    with _ctrl_c_later():
        content = scenario.model_dump(mode="json", exclude_none=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "code_sha256": code_sha256(),
        "files": {name: sha256(path) for name, path in files(scenario).items()},
        "scenario": content,
    }


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Ctrl-C has its effect after the block: pydantic takes it for a value that does not fit, and goes on."""
    if current_thread() is not main_thread():  # which Ctrl-C does not reach
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed and callable(before):
        before(pressed[0], None)


def files(scenario: Scenario) -> dict[str, Path]:
    """The profiles, the measured link and the trace of a loaded scenario, by the name or path that it has for them."""
    names = {pool.profile for arm in scenario.arms for pool in arm.pools().values()}
    if scenario.transfer.measured:
        names.add(scenario.transfer.measured)
    found = {name: find_profile(name, Path()) for name in sorted(names)}
    if isinstance(scenario.workload, Trace):
        found[str(scenario.workload.path)] = scenario.workload.path
    return found


def sha256(path: Path) -> str:
    """Hash of a profile's or a trace's bytes, read once for each state of the file."""
    stat = path.stat()
    return _hash(path, stat.st_mtime_ns, stat.st_size)


@cache
def _hash(path: Path, mtime_ns: int, size: int) -> str:  # noqa: ARG001 - the file's state
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def code_sha256() -> str:
    """Hash of the package's own files: a version number alone would let a changed checkout pass for the old one.

    Without `figures`, which only reads points.
    """
    root = Path(sunsim.__file__).parent
    files = (path for kind in ("*.py", "workload/tables/*") for path in root.rglob(kind) if path.is_file())
    found = sorted(path for path in files if "figures" not in path.relative_to(root).parts)
    total = hashlib.sha256()
    for path in found:
        total.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return total.hexdigest()
