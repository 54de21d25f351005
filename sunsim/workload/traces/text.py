"""A trace's file as text, whatever it holds: unpacked, its lines ended alike, and within limits of size."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final, cast

from sunsim.errors import InputError

MAX_LINE: Final = 2**20
"""Bytes of a line: the 62,500 hashes of a prompt of a million tokens are half of it."""

MAX_OBJECT: Final = 2**28
"""Bytes of a line where the file begins with a JSON object, which may be all of a file: 10 million tokens' times."""

MAX_TEXT: Final = 2**31
"""Bytes of a file, unpacked: twice the largest public trace in one of these formats."""

CHUNK: Final = 2**16
"""Bytes that are looked at together; a line may have more."""

TRACE: Final = "must be a trace file"

GZIP = b"\x1f\x8b"
PACKED: Final[Mapping[bytes, str]] = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
}


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    r"""UTF-8 without NUL bytes, lines ended by ``\n``, the last maybe not; blank lines at the end are left out.

    Attributes:
        path: of the file, for messages.
        data: the bytes.
        lines: how many there are.
    """

    path: Path
    data: bytes
    lines: int

    def line(self, number: int) -> str:
        """One of the lines, counted from 1, without its end."""
        return next(islice(self, number - 1, None))

    def __iter__(self) -> Iterator[str]:
        return (line.decode().removesuffix("\n") for line in io.BytesIO(self.data))


def read_text(path: Path, right: str = TRACE) -> Text:
    """Reads a whole file, packed with gzip or not; `right` says what it must be.

    Raises:
        InputError: it cannot be read, is no UTF-8 text, damaged, or too large, or one of its lines is.
    """
    try:
        data = _unpacked(path).removeprefix(codecs.BOM_UTF8)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, right) from error
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        data.isascii() or data.decode()
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text, {right}"
        raise InputError(message, path, data.count(b"\n", 0, error.start) + 1) from error
    if b"\0" in data:
        message = "the line has a NUL byte, must be text"
        raise InputError(message, path, data.count(b"\n", 0, data.index(b"\0")) + 1)
    data = _without_blank_end(data)
    return Text(path, data, data.count(b"\n") + (not data.endswith(b"\n")))


def _unreadable(path: Path, error: OSError | ValueError, right: str) -> InputError:
    return InputError(f"cannot be read ({getattr(error, 'strerror', None) or error}), {right}", path)


def _unpacked(path: Path) -> bytes:
    """The file's bytes; a file that is too large, or has too long a line, is not read any further."""
    unpacked = io.BytesIO()
    line, longest = 0, MAX_LINE
    with path.open("rb") as file:
        start = file.peek(8)
        for magic, name in PACKED.items():
            if start.startswith(magic):
                message = f"is {name}, must be text, or text packed with gzip"
                raise InputError(message, path)
        source = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if start.startswith(GZIP) else file
        try:
            while part := source.read(CHUNK):
                if not unpacked.tell() and part.removeprefix(codecs.BOM_UTF8).startswith(b"{"):
                    longest = MAX_OBJECT
                line += _first_end(part)
                if line > longest:
                    ends = max(unpacked.getvalue().count(end) for end in (b"\n", b"\r"))
                    message = f"the line is longer than {longest:,} bytes, must be one request of a trace"
                    raise InputError(message, path, ends + 1)
                last = max(part.rfind(b"\n"), part.rfind(b"\r"))
                line = len(part) - last - 1 if last >= 0 else line
                unpacked.write(part)
                if b"\0" in part:
                    break  # It is no text, whatever follows.
                if unpacked.tell() > MAX_TEXT:
                    message = f"holds more than {MAX_TEXT // 2**30} GiB of text, must be less"
                    raise InputError(message, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            message = f"is damaged ({error}), must be a whole gzip file"
            raise InputError(message, path) from error
    return unpacked.getvalue()


def _first_end(part: bytes) -> int:
    """Where the first line of `part` ends; its length if it does not."""
    return min((end for end in (part.find(b"\n"), part.find(b"\r")) if end >= 0), default=len(part))


def _without_blank_end(data: bytes) -> bytes:
    """`data` with one line end, at most, after the last line that is not blank; of blank lines up to a MiB is left out."""
    start = max(0, len(data) - MAX_LINE)
    tail = data[start:]
    kept = len(tail.rstrip())
    if not start and not kept:
        return b""
    end = tail.find(b"\n", kept)
    return data if end in {-1, len(tail) - 1} else data[: start + end + 1]
