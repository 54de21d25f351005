"""The files that a simulation reads besides its scenario, and whether they stayed what they were."""

import hashlib
from functools import cache
from pathlib import Path

from sunsim.errors import InputError
from sunsim.scenario import Scenario
from sunsim.workload.blocks import file_of


def files(scenario: Scenario) -> dict[str, Path]:
    """The profiles, accuracy files, measured link, trace and file of rates of a loaded scenario, by its names or paths of them."""
    found = {name: profile.path for name, profile in scenario.profiles.items()}
    found |= {arm.accuracy.name: arm.accuracy.file.path for arm in scenario.arms if arm.accuracy}
    if scenario.transfers:
        found[str(scenario.transfer.measured)] = scenario.transfers.path
    found = dict(sorted(found.items()))
    if path := file_of(scenario.workload):
        found[str(path)] = path
    return found


def sha256(path: Path) -> str:
    """Hash of a file's bytes, read once for each state of the file."""
    stat = path.stat()
    return _hash(path, stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size)


@cache
def _hash(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Inputs:
    """Hashes of the files that a run reads, as they were when they were first asked for."""

    def __init__(self) -> None:
        self._first: dict[Path, str] = {}

    def sha256(self, scenario: Scenario) -> dict[str, str]:
        """The first hashes of a scenario's `files`.

        Raises:
            InputError: a file is gone.
        """
        found = files(scenario)
        for path in found.values():
            if path not in self._first:
                self._first[path] = _now(path)
        return {name: self._first[path] for name, path in found.items()}

    def refuse_changed(self) -> None:
        """What was simulated with a file that changed meanwhile is of neither state.

        Raises:
            InputError: one did, or is gone.
        """
        for path, first in self._first.items():
            if _now(path) != first:
                message = "was changed while it was simulated with, must stay as it is: give the command again"
                raise InputError(message, path)


def _now(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        message = f"cannot be read ({error.strerror}), must stay where it is while it is simulated with"
        raise InputError(message, path) from error
