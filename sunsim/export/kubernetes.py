"""What both Kubernetes targets need: names, images, arguments and YAML."""

import re
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from sunsim.export.deployment import Workers
from sunsim.files import own_name

FILL_IN = "FILL-IN"
"""Stands where only the user knows what must stand."""

MOST_LETTERS = 40
"""Of a name, to which the targets add their own."""


def names(of: Iterable[str]) -> dict[str, str]:
    """A name that Kubernetes takes for each, its own: lower-case letters, digits and dashes, a letter first."""
    found: dict[str, str] = {}
    for name in of:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MOST_LETTERS].strip("-")
        plain = plain if plain[:1].isalpha() else f"m-{plain}".strip("-")
        found[name] = own_name(plain, found.values())
    return found


def weights(workers: Workers) -> str:
    """A Hugging Face name, to be filled in."""
    return f"{FILL_IN}/{workers.weights}"


def arguments(workers: Workers) -> list[str]:
    """The options as a container's arguments."""
    found = [text for option in workers.options for text in option]
    if drafting := workers.drafting:
        found += ["--speculative-config", drafting.value(f"{FILL_IN}/{drafting.drafter}-drafter")]
    return found


def yaml(head: str, content: Mapping[str, Any]) -> str:
    """`head`, a comment, and the content."""
    stream = StringIO()
    writer = YAML()
    writer.width = 2**16
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(content, stream)
    return head + stream.getvalue()
