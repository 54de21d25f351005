"""Folders of results, as they are compared: of runs, or of plans."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from sunsim.document.source import Source
from sunsim.document.text import read_text
from sunsim.errors import InputError
from sunsim.folder import MANIFEST, read_manifest, refuse_broken
from sunsim.plan.result import DOCUMENT
from sunsim.points.store import POINTS
from sunsim.report.entries import Arms
from sunsim.result import POOLS, REQUESTS, SCENARIO, SUMMARY

DOCUMENTS = {"run": SUMMARY, "plan": DOCUMENT}
"""By verb, the file in its folder that says all."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What a verb left.

    Attributes:
        name: that tables and sentences call it by.
        document: the content of `summary.json` or `plan.json`.
        scenario: the content of `scenario.resolved.yaml`.
    """

    name: str
    verb: str
    document: dict[str, Any]
    scenario: Mapping[str, Any]

    @property
    def arms(self) -> Arms:
        """What came out for each arm, by its name."""
        arms: Arms = self.document["arms"]
        return arms


def read_folders(paths: Sequence[Path]) -> list[Folder]:
    """Folders of one verb; see `_paired`.

    Raises:
        InputError: there are fewer than two; one holds something else, is damaged, or is of another verb than the first.
    """
    if len(paths) < 2:
        message = f"{len(paths)} folder given, must be at least two"
        raise InputError(message, "compare")
    folders = [_read(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    for path, folder in zip(paths, folders, strict=True):
        if folder.verb != folders[0].verb:
            message = f"holds a {folder.verb}, must hold a {folders[0].verb} as {paths[0]} does"
            raise InputError(message, path)
    return _paired(folders)


def _paired(folders: list[Folder]) -> list[Folder]:
    """Folders of one arm each are compared by it, also where each calls it by another name: then by all of these."""
    names = list(dict.fromkeys(name for folder in folders for name in folder.arms))
    if len(names) == 1 or any(len(folder.arms) != 1 for folder in folders):
        return folders
    together = " / ".join(names)

    def renamed(of_arms: Mapping[str, Any]) -> dict[str, Any]:
        return dict.fromkeys([together], next(iter(of_arms.values())))

    return [
        replace(
            folder,
            document=folder.document | {key: renamed(folder.document[key]) for key in ("arms", "base_models")},
            scenario={**folder.scenario, "arms": [arm | {"name": together} for arm in folder.scenario["arms"]]},
        )
        for folder in folders
    ]


def _read(path: Path, name: str) -> Folder:
    manifest = read_manifest(path)
    if manifest is None or manifest.verb not in DOCUMENTS:
        if manifest is None:
            refuse_unlisted(path)
        holds = f"holds results of sunsim {manifest.verb}" if manifest else f"has no {MANIFEST}, so holds no results"
        message = (
            f"{holds if path.is_dir() else 'is no folder'}, must be one that sunsim {' or '.join(DOCUMENTS)} has left"
        )
        raise InputError(message, path)
    document = DOCUMENTS[manifest.verb]
    refuse_broken(path, manifest, {document, SCENARIO, REQUESTS, POOLS})
    scenario = Source.parsed(path / SCENARIO, read_text(path / SCENARIO, "must be a scenario")).values()
    return Folder(name, manifest.verb, json.loads((path / document).read_bytes()), scenario)


def refuse_unlisted(path: Path) -> None:
    """Refuses results that no manifest lists.

    Raises:
        InputError: results, or a plan's or a sweep's points, are there.
    """
    wrong = "is damaged" if (path / MANIFEST).exists() else "is missing"
    for verb, document in DOCUMENTS.items():
        # A sweep, which is not compared, has a summary too, beside its points.
        if (path / document).is_file() and (path / POINTS).is_dir() == (verb == "plan"):
            message = f"{wrong}, must be as sunsim {verb} has left it beside {document}: give its command again"
            raise InputError(message, path / MANIFEST)
    if (path / POINTS).is_dir() and not (path / SUMMARY).is_file():
        message = (
            f"holds {POINTS}/ alone, of a plan or a sweep that was not finished: give its command again, it goes on"
        )
        raise InputError(message, path)


def _names(paths: Sequence[Path]) -> list[str]:
    """The paths, without the folders that all of them begin with."""
    beginnings = zip(*(path.parts[:-1] for path in paths), strict=False)
    common = len(list(takewhile(lambda parts: len(set(parts)) == 1, beginnings)))
    return ["/".join(path.parts[common:]) or str(path) for path in paths]
