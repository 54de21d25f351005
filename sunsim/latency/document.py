"""JSON files of measurements: strictly typed, within sane magnitudes, and refused in one line that says where."""

import hashlib
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Annotated, Concatenate, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sunsim.document.source import show
from sunsim.errors import InputError

MOST_BYTES = 2**26
SHOWN = 60
"""Characters of a wrong value that a message repeats."""

Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""A line that a terminal prints as it is."""
Milliseconds = Annotated[float, Field(ge=0, le=1e6)]
Tokens = Annotated[int, Field(ge=1, le=10**8)]
Batch = Annotated[int, Field(ge=1, le=4096)]
Bytes = Annotated[int, Field(ge=1, le=10**15)]


class Document(BaseModel):
    """A part of such a file. Keys that it does not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, strict=True)


D = TypeVar("D", bound=Document)
T = TypeVar("T")
P = ParamSpec("P")


def once(most: int) -> Callable[[Callable[Concatenate[Path, P], T]], Callable[Concatenate[Path, P], T]]:
    """Makes what reads a file do so once for each state of it, its time of change and its size; the last `most` are kept."""

    def kept(load: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path, P], T]:
        @lru_cache(maxsize=most)
        def of_state(state: tuple[int, int], path: Path, /, *args: P.args, **kwargs: P.kwargs) -> T:  # noqa: ARG001
            return load(path, *args, **kwargs)

        @wraps(load)
        def loaded(path: Path, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                stat = path.stat()
            except (OSError, ValueError):
                return load(path, *args, **kwargs)  # which says what is wrong
            return of_state((stat.st_mtime_ns, stat.st_size), path, *args, **kwargs)  # type: ignore[arg-type]  # they have hashes

        return loaded

    return kept


def read_document(path: Path, kind: type[D], what: str) -> tuple[D, str]:
    """The content of a file and the SHA-256 of its bytes, hexadecimal.

    Args:
        path: JSON.
        kind: of content.
        what: it is, for messages: "a profile".

    Raises:
        InputError: it is too large, no JSON, or a value has the wrong type or is out of range.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        message = f"has {size} bytes, must be {what} of at most {MOST_BYTES}"
        raise InputError(message, path)
    raw = path.read_bytes()
    try:
        return kind.model_validate_json(raw), hashlib.sha256(raw).hexdigest()
    except ValidationError as error:
        message = f"not {what}: {_explained(error.errors(include_url=False)[0])}"
        raise InputError(message, path) from error


def _explained(error: ErrorDetails) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "json_invalid":
        return f"{message}, must be JSON"
    if error["type"] == "missing":
        return f"{where} is missing, must be given"
    if error["type"] == "string_pattern_mismatch":
        message = "must be one line without control characters"
    if not message.startswith(("Input should ", "must ")):
        return f"{where}: {message}" if where else message
    value = show(error["input"])
    value = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
    return f"{where} is {value}, {message.replace('Input should', 'must', 1)}"
