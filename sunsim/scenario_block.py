"""Base of all blocks of a scenario file, and the types of their values."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sunsim.clock import MAX_S

UNKNOWN_KEY: Final = "unknown_key"
MISSING_CHOICE: Final = "missing_choice"

Name: TypeAlias = Annotated[str, Field(min_length=1)]
FolderName: TypeAlias = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,99}$")]
"""Text that names a folder: at most 100 characters, no slash, not starting with a dot."""
Count: TypeAlias = Annotated[int, Field(ge=1)]
Tokens: TypeAlias = Annotated[int, Field(ge=1, lt=2**30)]
Duration: TypeAlias = Annotated[float, Field(gt=0, le=MAX_S)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]


def key_hint(key: str, allowed: Iterable[str]) -> str:
    """What to write instead of an unknown `key`: the most similar allowed key, or all of them."""
    names = list(allowed)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"must be one of {', '.join(names)}"


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
                hint = key_hint(str(key), cls.model_fields)
                raise PydanticCustomError(UNKNOWN_KEY, UNKNOWN_KEY, {"key": str(key), "hint": hint})
        for name, field in cls.model_fields.items():
            key, value = field.discriminator, data.get(name)
            if isinstance(key, str) and isinstance(value, Mapping) and key not in value:
                kinds = [get_args(block.model_fields[key].annotation)[0] for block in get_args(field.annotation)]
                raise PydanticCustomError(
                    MISSING_CHOICE, MISSING_CHOICE, {"loc": (name, key), "kinds": ", ".join(kinds)}
                )
        return data
