"""Columns and keys that other tools give the same thing: hints for files that this project cannot read as they are."""

import re
from collections.abc import Collection
from typing import Final

from sunsim.errors import clipped

_NAMES: Final = (
    """
    arrival arrivals arrivedat arrivaltime created createdat createdtime requesttime start startedat starttime starttimes
    time timestamp ts
    """,
    """
    contexttokens inputlen inputlens inputlength inputtokens inputtoks isl numprefilltokens numprompttokens prefilltokens
    promptlen promptlength prompttokens reportedtokeninput requesttokens
    """,
    """
    completionlength completiontokens decodetokens generatedtokens numdecodetokens numgeneratedtokens osl outputlen
    outputlens outputlength outputtokens outputtoks reportedtokenoutput responselength responsetokens
    """,
)
"""What arrivals, prompts and outputs are called elsewhere: small letters only, and no unit."""


def renamed(wanted: tuple[str, str, str], unit: str, names: Collection[str]) -> str:
    """Which of `names` may mean what is wanted, as the end of a message; empty if none does.

    Args:
        wanted: what a format calls a request's arrival, prompt and output.
        unit: of arrivals.
        names: that are there instead.
    """
    hints = []
    found = {_letters(name): name for name in reversed([*names])}
    for needed, others, of in zip(wanted, _NAMES, (unit, "", ""), strict=True):
        like = next((found[other] for other in others.split() if other in found), None)
        if needed not in names and like is not None:
            hints.append(f"{clipped(like)} may be {needed}{of and f' ({of})'}")
    return f"; {', '.join(hints)}: to be renamed" if hints else ""


def _letters(name: str) -> str:
    """``Start time (ms)`` as ``starttime``."""
    words = re.findall("[a-z]+", name.lower())
    return "".join(words[:-1] if words[-1:] in (["s"], ["ms"], ["ns"]) else words)
