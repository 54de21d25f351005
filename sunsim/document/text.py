"""YAML that anybody may have written: read within limits of size, depth and number of values."""

import re
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning
from ruamel.yaml.scalarbool import ScalarBoolean

from sunsim.errors import InputError, clipped

MAX_BYTES = 10**6
MAX_DEPTH = 40
MAX_VALUES = 500_000
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def read_text(path: Path, right: str) -> str:
    """A YAML file's text; `right` says what it must be.

    Raises:
        InputError: it cannot be read, is larger than `MAX_BYTES`, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            # Not all of it: a device has no end.
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            message = f"has more than {MAX_BYTES:,} bytes, {right}"
            raise InputError(message, path)
        return content.decode()
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text, {right}"
        raise InputError(message, path) from error
    except (OSError, ValueError) as error:
        message = f"cannot be read ({getattr(error, 'strerror', None) or error}), {right}"
        raise InputError(message, path) from error


def parse(text: str) -> Any:
    """The document in `text` with the lines of its values, as ruamel has it; see `plain`.

    Raises:
        InputError: it is no YAML 1.2 document, is nested more than `MAX_DEPTH` deep, or gives a key twice. Has a line
            where the fault has one, but no file.
    """
    yaml = YAML()
    yaml.max_depth = MAX_DEPTH
    try:
        with warnings.catch_warnings():
            # An anchor's name may be used again.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(_explained(error), line=None if mark is None else mark.line + 1) from error
    except RecursionError as error:
        raise InputError(_TOO_DEEP) from error
    except Exception as error:
        message = f"not YAML: {clipped(' '.join(str(error).split()) or type(error).__name__)}"
        raise InputError(message) from error


_TOO_DEEP = f"is nested more than {MAX_DEPTH} deep, must be nested less"


def _explained(error: MarkedYAMLError) -> str:
    if isinstance(error, MaxDepthExceededError):
        return _TOO_DEEP
    if isinstance(error, DuplicateKeyError):
        # ruamel only offers the key inside its sentence: found duplicate key "seed" with value ...
        key = clipped(str(error.problem).split('"')[1])
        first = error.context_mark.line + 1 if error.context_mark else "?"
        return f"key {key} is given twice in the mapping that starts in line {first}, must be given once"
    return f"not YAML: {clipped(str(error.problem or error.context))}"


def written(content: Any, *, flow: bool | None = False) -> str:
    """YAML of plain values, however long its lines get; with `flow` None, blocks of scalars stand in one line each."""
    stream = StringIO()
    yaml = YAML()
    yaml.default_flow_style = flow
    yaml.width = 2**16
    yaml.dump(content, stream)
    return stream.getvalue()


def plain(root: Any) -> Any:
    """A document of `parse` as plain dicts, lists and scalars, what its aliases stand for written out.

    Raises:
        InputError: that would be more than `MAX_VALUES`, or without end; a key is no scalar, or a text is none that a file
            could hold. Has a line, but no file.
    """
    left = MAX_VALUES

    def written_out(node: Any, depth: int, line: int) -> Any:
        nonlocal left
        left -= 1
        # What an override has made stands in no line.
        if isinstance(node, CommentedBase) and node.lc.line is not None:
            line = node.lc.line + 1
        if left < 0:
            message = f"the aliases from here on stand for more than {MAX_VALUES:,} values, must be fewer"
            raise InputError(message, line=line)
        if depth > MAX_DEPTH:
            raise InputError(_TOO_DEEP, line=line)
        if isinstance(node, dict):
            if any(isinstance(key, list | tuple | dict) for key in node):
                message = "a list or a mapping stands where a key should, must be text"
                raise InputError(message, line=line)
            return {
                written_out(key, depth + 1, line): written_out(value, depth + 1, line) for key, value in node.items()
            }
        if isinstance(node, list | tuple):
            return [written_out(value, depth + 1, line) for value in node]
        if isinstance(node, bool | ScalarBoolean):
            return bool(node)
        if isinstance(node, str) and _LONE_SURROGATE.search(node):
            message = f"{clipped(node)} has half a character (a lone surrogate), must be whole text"
            raise InputError(message, line=line)
        for base in (int, float, str):
            if isinstance(node, base):
                return base(node)
        return node

    return written_out(root, 0, 1)
