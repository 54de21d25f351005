"""Base of all blocks of a scenario file, and the types of their values."""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sunsim.clock import MAX_S
from sunsim.errors import clipped, clipped_list

UNKNOWN_KEY: Final = "unknown_key"
MISSING_CHOICE: Final = "missing_choice"
MAX_WORKERS = 10_000
MAX_SEED = 2**62


def _without_controls(text: str) -> str:
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text):
        message = f"'{clipped(text)}' has a control character, must have none"
        raise ValueError(message)
    return text


def path_without_controls(path: Path) -> Path:
    """`path`; raises ValueError if it has control characters."""
    _without_controls(str(path))
    return path


# Limits are far beyond any deployment, and where sums and products of what they let through stay exact or finite.
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_without_controls)]
FileName: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_without_controls)]
"""A path, or the name of something that is shipped."""
FolderName: TypeAlias = Annotated[
    str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,99}$"), AfterValidator(_without_controls)
]
"""Text that names a folder: at most 100 characters, no slash, not starting with a dot."""
Seed: TypeAlias = Annotated[int, Field(ge=0, le=MAX_SEED)]
Count: TypeAlias = Annotated[int, Field(ge=1, lt=2**30)]
Tokens: TypeAlias = Annotated[int, Field(ge=1, lt=2**30)]
Workers: TypeAlias = Annotated[int, Field(ge=1, le=MAX_WORKERS)]
Duration: TypeAlias = Annotated[float, Field(ge=1e-6, le=MAX_S)]
"""Seconds."""
Moment: TypeAlias = Annotated[float, Field(ge=0, le=MAX_S)]
"""Seconds since the start."""
Milliseconds: TypeAlias = Annotated[float, Field(ge=1e-3, le=MAX_S * 1000)]
Delay: TypeAlias = Annotated[float, Field(ge=0, le=3_600_000)]
"""Milliseconds that every request or report waits."""
Rate: TypeAlias = Annotated[float, Field(ge=1e-9, le=1e9)]
"""Per second."""
Gigabits: TypeAlias = Annotated[float, Field(ge=1e-3, le=1e6)]
"""Per second, 10**9 bit."""
Positive: TypeAlias = Annotated[float, Field(ge=1e-9, le=1e9)]
"""A factor, a weight, a price."""


def key_hint(key: str, allowed: Iterable[str]) -> str:
    """What to write instead of an unknown `key`: the most similar allowed key, or all of them."""
    names = list(allowed)
    return near_hint(key, names) or f"must be one of {clipped_list(names)}"


def near_hint(key: str, allowed: Iterable[str]) -> str:
    """Asks whether the most similar allowed key was meant; empty where none is similar."""
    near = difflib.get_close_matches(key, list(allowed), n=1, cutoff=0.6)
    return f"did you mean {clipped(near[0])}?" if near else ""


def shape(value: Any) -> str:
    """Tag of the one of several types that a value is meant to be; angle brackets keep it from being taken for a key."""
    if isinstance(value, Mapping | BaseModel):
        return "<mapping>"
    return "<list>" if isinstance(value, list | tuple) else "<scalar>"


class Block(BaseModel):
    """Frozen, strict types, finite numbers, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        # pydantic's own errors say neither which keys there are nor what a missing kind may be.
        if not isinstance(data, Mapping):
            return data
        for key in data:
            if key not in cls.model_fields:
                hint = key_hint(clipped(str(key)), cls.model_fields)
                raise PydanticCustomError(UNKNOWN_KEY, UNKNOWN_KEY, {"key": key, "hint": hint})
        for name, field in cls.model_fields.items():
            key, value = field.discriminator, data.get(name)
            if isinstance(key, str) and isinstance(value, Mapping) and key not in value:
                blocks = [block for block in get_args(field.annotation) if block is not NoneType]
                kinds = [kind for block in blocks for kind in get_args(block.model_fields[key].annotation)]
                raise PydanticCustomError(
                    MISSING_CHOICE, MISSING_CHOICE, {"loc": (name, key), "kinds": ", ".join(kinds)}
                )
        return data
