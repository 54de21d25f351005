"""YAML in, values and their lines out; every complaint about a value names its file and line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from pydantic_core import ErrorDetails
from ruamel.yaml.comments import CommentedBase, CommentedMap, CommentedSeq

from sunsim.clock import MAX_DAYS, MAX_S
from sunsim.document.block import MISSING_CHOICE, UNKNOWN_KEY, near_hint
from sunsim.document.text import parse, plain
from sunsim.document.unsimulated import reference
from sunsim.errors import InputError, clipped, clipped_list, limit_text

Loc = tuple[str | int, ...]
Place = tuple[Path | str, int | None]
"""Where a value was given: a file and its line, or an option such as ``--set`` and None."""
DIGITS = 40
TINY = 1e-6
"""A least value up to here is there for the arithmetic, and is met by who writes 0 or less."""


@dataclass(eq=False)
class Source:
    """A scenario file as read: its values, and where each of them stands.

    Attributes:
        file: what messages call it: its path, or ``scenario`` where it was no file.
        folder: where relative paths in it start.
        root: the document, overrides applied.
    """

    file: Path | str
    folder: Path
    root: CommentedMap
    _places: dict[Loc, Place] = field(default_factory=dict)
    _first_line: int | None = 1

    @classmethod
    def parsed(cls, file: Path, text: str) -> Source:
        """What the text of a file says.

        Raises:
            InputError: it is not one YAML 1.2 mapping, or a key is given twice.
        """
        try:
            root = parse(text)
        except InputError as error:
            raise InputError(error.message, file, error.line) from error
        if not isinstance(root, CommentedMap):
            message = f"the file is {show(root)}, must be a mapping with the keys of a scenario"
            raise InputError(message, file, 1)
        return cls(file, file.parent, root)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Source:
        """What a file might hold, as Python's own values; relative paths in it start at the working directory."""
        return cls("scenario", Path(), _commented(values), _first_line=None)

    def variant(self) -> Source:
        """The same file, to be overridden without changing this one."""
        return replace(self, root=copy(self.root), _places=dict(self._places))

    def override(self, path: str, value: Any, place: Place) -> None:
        """Puts `value` at a dotted `path`; list entries by number or by their name. Missing mappings are made.

        Args:
            place: where the value was given, for messages about it.

        Raises:
            InputError: the path leads through something that is neither a mapping nor a list, or to no list entry.
        """
        node: Any = self.root
        loc: Loc = ()
        parts = path.split(".")
        for depth, part in enumerate(parts):
            key: str | int = part
            if isinstance(node, list):
                key = _entry(node, part, self.path(loc), place)
            elif not isinstance(node, dict):
                message = f"{path}: {'.'.join(parts[:depth])} is {show(node)}, must be a mapping or a list"
                raise InputError(message, *place)
            loc = (*loc, key)
            if depth == len(parts) - 1:
                node[key] = value
            else:
                child = node.get(key) if isinstance(node, dict) else node[int(key)]
                if child is None:
                    self._places[loc] = place
                # A copy, because an alias elsewhere in the file is the same object.
                node[key] = CommentedMap() if child is None else copy(child)
                node = node[key]
        self._places[loc] = place

    def values(self) -> Any:
        """The document as plain dicts, lists and scalars.

        Raises:
            InputError: it has too many.
        """
        try:
            return plain(self.root)
        except InputError as error:
            raise InputError(error.message, self.file, self._first_line and error.line) from error

    def error(self, loc: Loc, message: str) -> InputError:
        """`message` as an error that stands where `loc` is; parts of `loc` that are not in the file are skipped."""
        line, place, node = self._first_line, None, self.root
        seen: Loc = ()
        for part in loc:
            if not _has(node, part):
                continue
            seen = (*seen, part)
            place = self._places.get(seen, place)
            line = _line(node, part, line)
            node = node[part]
        return InputError(message, *place) if place else InputError(message, self.file, line)

    def path(self, loc: Loc, *, absent: bool = False) -> str:
        """`loc` as the user would write it: dotted, union tags left out, list entries by name if they have one.

        With `absent`, the last part is a key that is not in the file.
        """
        node: Any = self.root
        words = []
        for part in loc[:-1] if absent else loc:
            if _has(node, part):
                node = node[part]
                named = isinstance(part, int) and isinstance(node, dict) and isinstance(node.get("name"), str)
                words.append(clipped(str(node["name"] if named else part)))
        return ".".join([*words, clipped(str(loc[-1]))] if absent else words)

    def explain(self, error: ErrorDetails) -> InputError:
        """pydantic's `error` in plain words, at its line."""
        kind, loc, value, context = error["type"], error["loc"], error["input"], error.get("ctx", {})
        if kind == UNKNOWN_KEY:
            loc = (*loc, context["key"])
            if found := reference(context["key"]):
                return self.error(loc, f"{self.path(loc)} is not simulated, must be left out: {found}")
            return self.error(loc, f"unknown key {self.path(loc)}, {context['hint']}")
        if kind == MISSING_CHOICE:
            loc = (*loc, *context["loc"])
            return self.error(loc, f"{self.path(loc, absent=True)} is missing, must be one of {context['kinds']}")
        if kind == "missing":
            return self.error(loc, f"{self.path(loc, absent=True)} is missing, must be given")
        if kind == "union_tag_invalid":
            key = context["discriminator"].strip("'")
            if key.endswith("()"):
                shapes = _shapes(context["expected_tags"])
                return self.error(loc, f"{self.path(loc)} is {show(value)}, must be {shapes}")
            loc, value = (*loc, key), value[key]
        path = self.path(loc)
        if kind not in _EXPECTED:
            message = str(context.get("error", error["msg"]))
            return self.error(loc, f"{path}: {message}" if path else message)
        asked = reference(value)
        why = f": {show(value)} is not simulated, {asked}" if asked else ""
        return self.error(loc, f"{path} is {show(value)}, must be {_EXPECTED[kind]({**context, 'value': value})}{why}")


def _commented(value: Any) -> Any:
    """Mappings and lists as ruamel has them, without lines; they can be overridden without changing `value`."""
    if isinstance(value, Mapping):
        return CommentedMap({key: _commented(entry) for key, entry in value.items()})
    return CommentedSeq(map(_commented, value)) if isinstance(value, list | tuple) else value


def _listed(text: str) -> str:
    # pydantic writes 'a', 'b' or 'c'
    values = text.replace(" or ", ", ").replace("'", "")
    return f"one of {values}" if "," in values else values


def _shapes(tags: str) -> str:
    names = {"<mapping>": "a mapping", "<list>": "a list", "<scalar>": "a number"}
    return " or ".join(name for tag, name in names.items() if tag in tags)


def _at_least(context: Mapping[str, Any]) -> str:
    # The smallest numbers only keep what is computed from them finite: to who wrote 0 they mean above 0.
    least = context["ge"]
    return "above 0" if least <= TINY and context["value"] <= 0 < least else f"at least {limit_text(least)}"


def _at_most(context: Mapping[str, Any]) -> str:
    most = context["le"]
    return f"at most {limit_text(most)}{f' ({MAX_DAYS} days)' if most == MAX_S else ''}"


_EXPECTED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "bool_type": lambda _: "true or false",
    "int_type": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text",
    "string_too_short": lambda _: "at least one character",
    "string_too_long": lambda context: f"at most {context['max_length']} characters",
    "string_pattern_mismatch": lambda _: "a name of 1 to 100 characters, without slashes and not starting with a dot",
    "path_type": lambda _: "a path",
    "model_type": lambda _: "a mapping",
    "model_attributes_type": lambda _: "a mapping",
    "dict_type": lambda _: "a mapping",
    "tuple_type": lambda _: "a list",
    "too_short": lambda _: "a list with at least one entry",
    "too_long": lambda context: f"at most {context['max_length']} entries",
    "greater_than": lambda context: f"greater than {limit_text(context['gt'])}",
    "greater_than_equal": _at_least,
    "less_than": lambda context: f"less than {limit_text(context['lt'])}",
    "less_than_equal": _at_most,
    "literal_error": lambda context: _listed(context["expected"]),
    "union_tag_invalid": lambda context: _listed(context["expected_tags"]),
}


def show(value: Any) -> str:
    """A value as a message shows it: text quoted, mappings and lists by what they are."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        return f"'{clipped(value)}'"
    # Python refuses to write out whole numbers of more than 4,300 digits.
    return f"above 1e{DIGITS}" if isinstance(value, int) and abs(value) > 10**DIGITS else clipped(str(value))


def parse_value(text: str, option: str) -> Any:
    """A YAML value given on the command line.

    Raises:
        InputError: `text` is not YAML.
    """
    try:
        return parse(text)
    except InputError as error:
        wrong = f"'{clipped(text)}' is no YAML value, must be path=value with a value as it stands in a scenario file"
        raise InputError(wrong, option) from error


def _entry(node: list[Any], part: str, path: str, place: Place) -> int:
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in node]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(node):
        return int(part)
    known = [str(name) for name in names if name is not None]
    by_name = f" or one of {clipped_list(known)}" if known else ""
    hint = near_hint(clipped(part), known) or f"must be a number below {len(node)}{by_name}"
    message = f"{path}.{clipped(part)}: no such entry, {hint}"
    raise InputError(message, *place)


def _has(node: Any, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)


def _line(node: CommentedBase, part: str | int, default: int | None) -> int | None:
    position = (node.lc.data or {}).get(part)
    return default if position is None else int(position[0]) + 1


def refuse(key: str, value: object, must: str, loc: Loc, source: Source) -> NoReturn:
    """Refuses a value that does not go together with others.

    Args:
        key: in the block at `loc`, or dotted in blocks within it; it need not be in the file.
        value: as it is to be shown.
        must: what would be right: ``must be ...``.

    Raises:
        InputError: always.
    """
    place = (*loc, *key.split("."))
    shown = str(value).lower() if isinstance(value, bool) else value
    raise source.error(place, f"{source.path(place, absent=True)} is {shown}, {must}")
