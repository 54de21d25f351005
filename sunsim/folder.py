"""A folder of results and its manifest, which says what a run left there and whether that is still whole."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sunsim.errors import InputError
from sunsim.files import PREFIX, clean_up, flush, refusing, staging
from sunsim.version import __version__

MANIFEST = "manifest.json"
PLACE = "a folder for results"


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.as_posix() != name:
        message = "must be a path inside the folder"
        raise ValueError(message)
    return name


class Written(BaseModel):
    """A file as it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bytes: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel):
    """The content of `manifest.json`: equal files give equal bytes.

    Attributes:
        verb: that wrote the folder.
        complete: whether all files stand in their places. If not, the writer is at it, or was killed there.
        files: by their path in the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    sunsim_version: str = __version__
    verb: str
    complete: bool
    files: dict[Annotated[str, AfterValidator(_inside)], Written]

    def broken(self, folder: Path) -> list[str]:
        """The files that are missing or no longer what was written."""
        return [name for name, written in self.files.items() if _standing(folder / name) != written]


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none, or it is damaged."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def refuse_broken(folder: Path, manifest: Manifest, needed: Collection[str]) -> None:
    """Whether the files that are `needed` are as they were written.

    Raises:
        InputError: one is not, or the writer was stopped amid them.
    """
    broken = [name for name in manifest.broken(folder) if name in needed]
    if broken or not manifest.complete:
        what = f"{', '.join(broken)} changed since it was written" if broken else "its writer was stopped"
        message = f"is damaged ({what}), must be as sunsim {manifest.verb} has left it: give its command again"
        raise InputError(message, folder)


class Results:
    """A folder that a verb leaves its results in.

    A rerun replaces what the run before wrote, and removes what it no longer writes; all else in the folder stays.
    """

    def __init__(self, out: Path, verb: str, marks: Sequence[str] = (), *, anywhere: bool = False) -> None:
        """Makes nothing yet.

        Args:
            out: the folder, or a link to it.
            verb: that writes it.
            marks: what a folder of such results has though it lacks a manifest.
            anywhere: a folder that holds other things will do.

        Raises:
            InputError: `out` holds something else, or cannot be written.
        """
        self.out = out
        self._verb = verb
        self._marks = marks
        with refusing(out, PLACE):
            self.folder = Path(os.path.realpath(out))
            nearest = next(path for path in (self.folder, *self.folder.parents) if path.exists())
            if nearest == self.folder:
                clean_up(self.folder)
                self._refuse_foreign(anywhere=anywhere)
            # Tried before anything is simulated, without leaving a trace.
            with staging(nearest) as trial:
                (trial / self.folder.relative_to(nearest)).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def writing(self, *, adding: bool = False) -> Iterator[Path]:
        """A folder to write into; when the block ends well all that is in it takes its place in the results.

        If `adding`, what the run before wrote under other names stays part of the results.

        Raises:
            InputError: the results cannot be written, or a file of somebody else has the name of one of theirs.
            KeyboardInterrupt: stopped by the user amid them.
        """
        with refusing(self.out, PLACE):
            self.folder.mkdir(parents=True, exist_ok=True)
            clean_up(self.folder)
            with staging(self.folder) as partial:
                yield partial
                try:
                    with _alone(self.folder):
                        self._put_in_place(partial, adding=adding)
                except KeyboardInterrupt:
                    message = f"interrupted while {self.out} was written, the same command writes it anew"
                    raise KeyboardInterrupt(message) from None

    def _refuse_foreign(self, *, anywhere: bool) -> None:
        names = [path for path in self.folder.iterdir() if not path.name.startswith(PREFIX)]
        if names and not (self._before() or anywhere or self._is_marked()):
            raise self._foreign()

    def _foreign(self) -> InputError:
        of = f"results of sunsim {self._verb}"
        return InputError(f"holds something else than {of}, must be a new folder or one with such results", self.out)

    def _before(self) -> Manifest | None:
        """What the run before wrote.

        Raises:
            InputError: another verb did.
        """
        before = read_manifest(self.folder)
        if before and before.verb != self._verb:
            raise self._foreign()
        return before

    def _is_marked(self) -> bool:
        return bool(self._marks) and all((self.folder / mark).exists() for mark in self._marks)

    def _put_in_place(self, partial: Path, *, adding: bool) -> None:
        """First the manifest says what will be ours, then each file takes its place, then it says that all are there."""
        paths = [path for path in sorted(partial.rglob("*")) if path.is_file()]
        new = {path.relative_to(partial).as_posix(): _as_it_is(path) for path in paths}
        before = self._before()
        old = before.files if before else {}
        ours = old if before else new if self._is_marked() else ()
        self._refuse_taken([*new, MANIFEST], [*ours, MANIFEST] if ours else [])
        if before:
            self._tell(before, new)
        for path in paths:
            flush(path)
        self._note(partial, old | new, complete=False)
        for name in new:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).replace(self.folder / name)
        stale = [] if adding else [name for name in old if name not in new]
        for name in stale:
            # What somebody has put in its place since is theirs.
            if self._standing(name) == old[name]:
                (self.folder / name).unlink()
        for folder in {(self.folder / name).parent for name in new}:
            flush(folder)
        self._note(partial, {name: file for name, file in (old | new).items() if name not in stale}, complete=True)

    def _refuse_taken(self, new: Collection[str], ours: Collection[str]) -> None:
        """Refuses to replace what is not `ours`, and to write through links and where folders are."""
        for name in new:
            path = self.folder / name
            folder = next(
                (folder for folder in self._folders(name) if _exists(folder) and not _is_folder(folder)), None
            )
            taken = folder or (path if _is_folder(path) or (_exists(path) and name not in ours) else None)
            if taken:
                message = f"is not what sunsim {self._verb} wrote, must be moved away"
                raise InputError(message, self.out / taken.relative_to(self.folder))

    def _tell(self, before: Manifest, new: Collection[str]) -> None:
        broken = [name for name in before.broken(self.folder) if name in new]
        if not before.complete:
            sys.stderr.write(
                f"{self.out}: the run before was stopped while it wrote its files; they are written anew\n"
            )
        elif broken:
            sys.stderr.write(f"{self.out}: changed since the run before, so written anew: {', '.join(broken)}\n")

    def _standing(self, name: str) -> Written | None:
        return _standing(self.folder / name) if all(map(_is_folder, self._folders(name))) else None

    def _folders(self, name: str) -> list[Path]:
        """Those between the results' folder and a file."""
        return [self.folder / parent for parent in PurePosixPath(name).parents][:-1]

    def _note(self, partial: Path, files: Mapping[str, Written], *, complete: bool) -> None:
        manifest = Manifest(verb=self._verb, complete=complete, files=dict(sorted(files.items())))
        path = partial / MANIFEST
        path.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        flush(path)
        path.replace(self.folder / MANIFEST)
        flush(self.folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time, so that the files of two runs never mix."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # On a file system without locks the checksums of the manifest would tell.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _standing(path: Path) -> Written | None:
    """A regular file as it stands; None if there is none, or it cannot be read."""
    try:
        return _as_it_is(path) if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None


def _as_it_is(path: Path) -> Written:
    with path.open("rb") as file:
        return Written(bytes=os.fstat(file.fileno()).st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
