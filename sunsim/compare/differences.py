"""Where documents differ: at each place, what every one of them has there."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sunsim.compare.folders import Folder

HASH = 12
"""Letters of a SHA-256 that are shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place, dotted as for ``--set``, and what each document has there; None where it has nothing."""

    path: str
    values: tuple[Any, ...]


def differences(documents: Sequence[Any], path: str = "") -> Iterator[Difference]:
    """The places where documents differ, as deep as all of them go; entries of lists by their names.

    Blocks with no key in common, as workers by models of other names, are one place.
    """
    if all(document == documents[0] for document in documents):
        return
    found = (
        [{entry["name"]: entry for entry in each} for each in documents] if all(map(_named, documents)) else documents
    )
    blocks = all(isinstance(each, Mapping) for each in found)
    if not blocks or (path and found is documents and all(found) and not set.intersection(*map(set, found))):
        yield Difference(path, tuple(documents))
        return
    for key in dict.fromkeys(key for each in found for key in each):
        yield from differences([each.get(key) for each in found], f"{path}.{key}" if path else str(key))


def input_differences(folders: Sequence[Folder]) -> list[Difference]:
    """Of the scenarios, the content of profiles that have one name, and sunsim's version."""
    hashes = [folder.document["profiles"] for folder in folders]
    everywhere = [name for name in hashes[0] if all(name in others for others in hashes)]
    more = [(f"SHA-256 of {name}", [of[name][:HASH] for of in hashes]) for name in everywhere]
    more.append(("sunsim's version", [folder.document["sunsim_version"] for folder in folders]))
    found = list(differences([folder.scenario for folder in folders]))
    return found + [Difference(name, tuple(values)) for name, values in more if len(set(values)) > 1]


def told(given: Sequence[Difference]) -> list[Difference]:
    """The same of the input for people: what is a block in some and missing in others, key by key.

    Left out are arms that not all have, which are told of by name.
    """
    return [leaf for each in given if not _is_arm(each.path) for leaf in _leaves(each)]


def _is_arm(path: str) -> bool:
    return path.startswith("arms.") and path.count(".") == 1


def _leaves(found: Difference) -> Iterator[Difference]:
    blocks = [{} if value is None else value for value in found.values]
    if None not in found.values or not all(isinstance(block, Mapping) for block in blocks) or not any(blocks):
        yield found
        return
    for key in dict.fromkeys(key for block in blocks for key in block):
        # An entry of a list has its name in the path.
        if key != "name":
            yield from _leaves(Difference(f"{found.path}.{key}", tuple(block.get(key) for block in blocks)))


def in_blocks(given: Sequence[Difference], blocks: Collection[str]) -> list[str]:
    """The paths that are in some blocks of the scenario."""
    return [each.path for each in given if each.path.partition(".")[0] in blocks]


def outcome_differences(folders: Sequence[Folder]) -> dict[str, list[Difference]]:
    """By arm, of those that more than one folder has, in the order in which they come: what differs; nothing may."""
    names = dict.fromkeys(name for folder in folders for name in folder.arms)
    entries = {name: [folder.arms[name] for folder in folders if name in folder.arms] for name in names}
    return {name: list(differences(found)) for name, found in entries.items() if len(found) > 1}


def _named(document: Any) -> bool:
    """Whether it is a list whose entries have names."""
    return isinstance(document, list) and all(isinstance(entry, Mapping) and "name" in entry for entry in document)
