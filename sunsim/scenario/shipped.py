"""Shipped scenarios: where they are, and which file a name means."""

from difflib import get_close_matches
from os.path import exists, isdir
from pathlib import Path

from sunsim.errors import InputError, clipped
from sunsim.latency.profile import profiles_root

FIGURES = "figures"
"""The folder of those that `sunsim figures` goes through; they have no names."""


def scenarios_root() -> Path:
    """The folder of the shipped scenarios, beside that of the shipped profiles."""
    return profiles_root().parent / "scenarios"


def list_scenarios() -> list[str]:
    """Names of the shipped scenarios, sorted: their paths in the folder, without the ending."""
    root = scenarios_root()
    paths = (path.relative_to(root).with_suffix("") for path in root.rglob("*.yaml"))
    return sorted(path.as_posix() for path in paths if path.parts[0] != FIGURES)


def names_scenario(given: Path) -> bool:
    """Whether a name without its ending, for which there is no file, is that of a scenario."""
    return exists(f"{given}.yaml") or given.as_posix() in list_scenarios()  # noqa: PTH110


def find_scenario(given: Path) -> Path:
    """The file that is meant: `given` itself, the one with ``.yaml`` behind it, or else the shipped one of that name.

    Raises:
        InputError: there is none of them.
    """
    for path in (given, Path(f"{given}.yaml")):
        # Those of pathlib raise an error where a name is too long. A pipe may hold a scenario too.
        if exists(path) and not isdir(path):  # noqa: PTH110, PTH112
            return path
    names = list_scenarios()
    if given.as_posix() in names:
        return scenarios_root() / f"{given}.yaml"
    if exists(given):  # noqa: PTH110
        return given
    near = get_close_matches(given.stem, names)
    hint = f"did you mean {' or '.join(near)}?" if near else "`sunsim scenarios` lists those"
    message = f"there is no such file, must be a scenario file or the name of a shipped scenario: {hint}"
    raise InputError(message, clipped(str(given), 300))
