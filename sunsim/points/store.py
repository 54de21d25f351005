"""The points that a sweep or a plan keeps: one file each, whole or simulated again, found by what it was made from."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sunsim.files import clean_up, refusing, staging
from sunsim.folder import PLACE
from sunsim.inputs import Inputs
from sunsim.points.code import code_sha256
from sunsim.points.outcome import Row
from sunsim.points.point import key
from sunsim.scenario import Scenario
from sunsim.version import __version__

KEPT_VERSION = 2
POINTS = "points"
MOST_TOLD = 5


class Storable(Protocol):
    """A simulation that can be kept."""

    @property
    def scenario(self) -> Scenario:
        """What is simulated."""

    def identity(self) -> dict[str, Any]:
        """All that its figures depend on besides files and code, as JSON has it."""


class Store:
    """The folder of a sweep or a plan: `points/` with a file a point.

    A file is one JSON object: what the point was made from, its `rows`, and the `sha256` of the text before it.

    Attributes:
        inputs: the files that the points are simulated with.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder if it isn't there, and removes what killed writers left.

        Raises:
            InputError: it cannot be written.
        """
        self.folder = folder / POINTS
        self.inputs = Inputs()
        self._damaged: set[str] = set()
        with refusing(folder, PLACE):
            self.folder.mkdir(parents=True, exist_ok=True)
            clean_up(self.folder)

    def rows(self, point: Storable) -> list[Row] | None:
        """A point's rows; None if it is not kept, or its file is not what was written."""
        head, path = self._head(point)
        try:
            if not os.path.lexists(path):
                return None
            # A pipe in its place would be read for ever.
            raw = path.read_bytes() if path.is_file() else b""
        except OSError:
            raw = b""
        body, tail = raw[: -len(_tail(b""))], raw[-len(_tail(b"")) :]
        if tail != _tail(body) or not body.startswith(head):
            self._damaged.add(path.name)
            return None
        rows: list[Row] = json.loads(body[len(head) :])
        return rows

    def keep(self, point: Storable, rows: Sequence[Row]) -> None:
        """Writes a point's file. It is not flushed to the disk: should it not get there, its checksum tells.

        Raises:
            InputError: it cannot be written, or a file that it was simulated with has changed.
        """
        self.inputs.refuse_changed()
        head, path = self._head(point)
        body = head + json.dumps(list(rows), allow_nan=False).encode()
        with refusing(self.folder, PLACE):
            self.folder.mkdir(parents=True, exist_ok=True)
            with staging(self.folder) as partial:
                (partial / path.name).write_bytes(body + _tail(body))
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                (partial / path.name).replace(path)

    def tell_damage(self) -> None:
        """Says on stderr which kept points were damaged, and so were simulated again."""
        if self._damaged:
            names = sorted(self._damaged)
            listed = ", ".join(names[:MOST_TOLD]) + (", ..." if len(names) > MOST_TOLD else "")
            points = f"{len(names)} point{'s' if len(names) > 1 else ''}"
            sys.stderr.write(f"{self.folder}: damaged, so simulated again: {points} ({listed})\n")

    def _head(self, point: Storable) -> tuple[bytes, Path]:
        """How a point's file begins, and its path."""
        identity = {
            "kept_version": KEPT_VERSION,
            "sunsim_version": __version__,
            "code_sha256": code_sha256(),
            "files": self.inputs.sha256(point.scenario),
            **point.identity(),
        }
        text = json.dumps(identity, sort_keys=True)
        return f'{text[:-1]}, "rows": '.encode(), self.folder / f"{key(identity)}.json"


def _tail(body: bytes) -> bytes:
    """How a file ends that begins with `body`; always of one length."""
    return f', "sha256": "{hashlib.sha256(body).hexdigest()}"}}\n'.encode()
