"""Scenarios in and out: read, checked and completed, and written with every default explicit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sunsim.document.source import Source, parse_value
from sunsim.document.text import read_text, written
from sunsim.errors import InputError, clipped
from sunsim.scenario.blocks import Document
from sunsim.scenario.checks import complete
from sunsim.scenario.scenario import Scenario
from sunsim.scenario.shipped import find_scenario

Given = Path | str | Mapping[str, Any]
"""A scenario's file, the name of a shipped one, or what one would hold."""


def load_scenario(given: Given, overrides: Sequence[str] = (), seed: int | None = None) -> Scenario:
    """Reads, checks and completes a scenario.

    Args:
        given: the YAML file, in which relative paths start at its folder; the name of a shipped one (`find_scenario`);
            or what one would hold, in which they start at the working directory.
        overrides: ``dotted.path=value`` each, applied in order; the value is YAML, list entries are addressed by
            number or by their name (``arms.sun.decode.workers=8``).
        seed: replaces the file's seed.

    Returns:
        The scenario, with every default filled in. A `sweep` and a `plan` block are checked, but left out: they are not
        part of what is simulated.

    Raises:
        InputError: the file cannot be read or something in it or in an override is wrong; the message is one line.
    """
    return checked(read_source(given, overrides, seed)).changed(sweep=None, plan=None)


def read_source(given: Given, overrides: Sequence[str] = (), seed: int | None = None) -> Source:
    """The first half of `load_scenario`: what is given, with overrides applied.

    Raises:
        InputError: the file cannot be read, or an override leads nowhere.
    """
    source = _source(given)
    for override in overrides:
        dotted, equals, value = override.partition("=")
        if not (dotted and equals):
            message = f"'{clipped(override)}' has no path or no value, must be path=value"
            raise InputError(message, "--set")
        source.override(dotted, parse_value(value, "--set"), ("--set", None))
    if seed is not None:
        source.override("seed", seed, ("--seed", None))
    return source


def _source(given: object) -> Source:
    if isinstance(given, Mapping):
        return Source.of(given)
    if isinstance(given, str | Path):
        path = find_scenario(Path(given))
        return Source.parsed(path, read_text(path, "must be a scenario file"))
    message = f"is of type {type(given).__name__}, must be a scenario's file, or a mapping of what one would hold"
    raise InputError(message, "scenario")


def checked(source: Source) -> Scenario:
    """The second half of `load_scenario`: the completed scenario, with its `sweep` and `plan` blocks if it has them.

    Raises:
        InputError: something in it is wrong.
    """
    try:
        document = Document.model_validate(source.values())
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A list whose entries are all wrong is also too short; the entries are what to mend.
        with_faults = {details["loc"][:depth] for details in found for depth in range(len(details["loc"]))}
        entries = [d for d in found if d["type"] != "too_short" or d["loc"] not in with_faults]
        faults = [source.explain(details) for details in entries]
        raise min(faults, key=lambda fault: fault.line or 0) from error
    return complete(document, source)


def resolved(scenario: Scenario) -> str:
    """`scenario` as YAML with every default explicit; loading it gives an equal scenario, wherever it is stored.

    Args:
        scenario: a loaded one.
    """
    return written(scenario.document.model_dump(mode="json", exclude_none=True))
