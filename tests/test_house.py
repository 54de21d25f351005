"""The house: imports point one way."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sunsim", "plots", "profiler")


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }


def imported(path: Path, known: set[str]) -> set[str]:
    """Modules of the project that a file names anywhere: at the top, for types only, inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & known) or {node.module}
    return found & known


def house() -> dict[str, set[str]]:
    """What each module imports."""
    every = modules()
    return {name: imported(path, set(every)) - {name} for name, path in every.items()}


def room(module: str) -> str:
    """The package of a module, or the module itself where it stands at the top."""
    return ".".join(module.split(".")[:2])


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A way from a node back to itself; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_circle_would_be_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b"}, "b": {"c"}, "c": set()})


def test_no_modules_import_each_other() -> None:
    assert circle(house()) == []


def test_no_packages_import_each_other() -> None:
    rooms: dict[str, set[str]] = {}
    for name, others in house().items():
        rooms.setdefault(room(name), set()).update(room(other) for other in others)
    for name, others in rooms.items():
        others.discard(name)
    assert circle(rooms) == []


@pytest.mark.parametrize(("below", "above"), [("sunsim", "profiler"), ("sunsim.cluster", "sunsim.report")])
def test_who_is_never_imported(below: str, above: str) -> None:
    at_fault = {
        name
        for name, others in house().items()
        if name.startswith(below) and any(other.startswith(above) for other in others)
    }
    assert at_fault == set()
