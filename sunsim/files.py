"""The one way to write files: whoever looks, and whenever the writer is killed, finds the old content or the new one.

What is written lies at first in a folder beside its place, whose name nobody can foretell, and is then renamed. As long
as the writer lives it has that folder locked; one whose lock can be had was left behind and is removed by the next
writer, however process ids repeat.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sunsim.errors import InputError

PREFIX, SUFFIX = ".sunsim-", ".partial"
MOST_BYTES = 240
"""Of a file name without its ending: file systems take 255."""


@contextmanager
def replacing(path: Path, what: str = "a file") -> Iterator[Path]:
    """A path of the same name to write to, which takes the place of `path` when the block ends well.

    A link stays, and what it points to is replaced. `what` the place must be is said if it cannot be written.

    Raises:
        InputError: `path` is no regular file, or cannot be written.
    """
    with refusing(path, what):
        target = Path(os.path.realpath(path))
        _refuse_irregular(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        clean_up(target.parent)
        with staging(target.parent) as partial:
            yield partial / target.name
            flush(partial / target.name)
            (partial / target.name).replace(target)
            flush(target.parent)


@contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Turns what the system says to writing at `path` into an InputError that says it must be `what`."""
    try:
        yield
    except OSError as error:
        message = f"cannot be written ({error.strerror or error}), must be {what}"
        raise InputError(message, path) from error


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, to write what is then renamed; it is gone when the block ends."""
    partial, lock = _locked(folder)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)


def clean_up(folder: Path) -> None:
    """Removes what killed writers left in `folder`."""
    for partial in folder.glob(f"{PREFIX}*{SUFFIX}"):
        try:
            lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(partial, ignore_errors=True)
        except OSError:
            # Its writer lives, or this file system has no locks to tell: then it stays.
            pass
        finally:
            os.close(lock)


def flush(path: Path) -> None:
    """Has a file's content, or a folder's names, written to the disk: a rename may get there before what it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems have no way to do it for a folder.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def _locked(folder: Path) -> tuple[Path, int]:
    while True:
        partial = Path(tempfile.mkdtemp(SUFFIX, PREFIX, folder))
        try:
            lock = os.open(partial, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another writer took it for left behind before it was locked.
            os.close(lock)
            continue
        except OSError:
            return partial, lock
        if partial.exists():
            return partial, lock
        os.close(lock)


def _refuse_irregular(path: Path) -> None:
    """Renaming would put a file in the place of the device itself, or behind the back of whoever reads our output."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return
    kind = None
    if stat.S_ISDIR(state.st_mode):
        kind = "a folder"
    elif not stat.S_ISREG(state.st_mode):
        kind = "a device, a pipe or a socket"
    elif _is_output(state):
        kind = "this command's own output"
    if kind:
        message = f"is {kind}, must be a file"
        raise InputError(message, path)


def _is_output(state: os.stat_result) -> bool:
    try:
        return os.path.samestat(state, os.fstat(sys.__stdout__.fileno())) if sys.__stdout__ else False
    except (OSError, ValueError):
        return False


def file_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A file name for each name, none of `taken`, its own even where two differ only in what a file name cannot have."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.-]+", "-", name).lstrip(".") or "-"
        plain = plain.encode()[:MOST_BYTES].decode(errors="ignore")
        others = {*taken, *found.values()}
        found[name] = own_name(plain, others)
    return found


def own_name(name: str, taken: Collection[str], sign: str = "-") -> str:
    """The name, with a number behind the sign where it is taken."""
    return next(free for n in count(1) if (free := f"{name}{sign}{n}" if n > 1 else name) not in taken)
