"""How right the arms' models answer, as scenarios name it: a column beside the GPUs, and what it was measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sunsim.accuracy.measured import MIN_SEEDS, AccuracyFile, too_few
from sunsim.report.entries import Entry
from sunsim.report.format import count, counted, listed, together
from sunsim.scenario import Arm

HEADER = "exact match\n%"
NOT_KNOWN = "not known"
NOWHERE = (
    "Accuracy is not known here: no arm names an accuracy file, so nothing is said of how right models tuned and served in "
    "one way answer, and in another."
)


def accuracy_entry(arm: Arm) -> dict[str, Any] | None:
    """What `summary.json` has of an arm; None where it is not known."""
    found = arm.accuracy
    if found is None or found.exact_match is None:
        return None
    measured = asdict(found.exact_match)
    share = measured.pop("mean")
    return {"method": found.method, "file": found.name, "exact_match": share, **measured, "tasks": list(found.tasks)}


def accuracy_files(arms: Iterable[Arm]) -> dict[str, dict[str, Any]]:
    """Of each accuracy file that these arms name, what was measured; empty where no arm names any."""
    return {arm.accuracy.name: file_entry(arm.accuracy.file) for arm in arms if arm.accuracy}


def file_entry(file: AccuracyFile) -> dict[str, Any]:
    """What was measured in an accuracy file, as results have it."""
    said = ("model", "parameters", "seeds", "card", "measured")
    return {"sha256": file.sha256, **{key: getattr(file.data, key) for key in said}}


def exact_match(entry: Entry | None) -> str:
    """A cell: the share in percent, with its interval, or how few seeds there are."""
    if entry is None:
        return NOT_KNOWN
    share, low, high = (100 * entry[key] for key in ("exact_match", "low", "high"))
    few = too_few(entry["seeds"])
    return f"{share:.1f}, {few}" if few else f"{share:.1f} ({low:.1f} to {high:.1f})"


def accuracy_told(of_arms: Mapping[str, Entry | None], files: Mapping[str, Entry]) -> list[str]:
    """What the arms' exact match was measured on, a sentence for each file and choice of tasks; nothing where no arm names any.

    Args:
        of_arms: `accuracy_entry` of each.
        files: `accuracy_files` of all.
    """
    if not files:
        return []
    known = {name: entry for name, entry in of_arms.items() if entry}
    alike = together(((entry["file"], tuple(entry["tasks"])), name) for name, entry in known.items())
    said = []
    for (file, tasks), names in alike.items():
        methods = together((known[name]["method"], name) for name in names)
        ways = listed([f"{method} ({listed(own)})" for method, own in methods.items()])
        few = any(known[name]["seeds"] < MIN_SEEDS for own in methods.values() for name in own)
        said.append(
            f"Exact match{'' if few else ', with its 95 % interval,'} is of {measured_on(files[file], tasks)}, not your models: "
            f"{ways}.{f' Fewer than {MIN_SEEDS} seeds do not tell one method from another.' if few else ''}"
        )
    if len(alike) > 1:
        said.append("What was measured of different models or tasks does not compare.")
    unknown = [name for name, entry in of_arms.items() if entry is None]
    return [*said, f"Accuracy is not known here of {listed(unknown)}."] if unknown else said


def measured_on(file: Entry, tasks: Sequence[str]) -> str:
    """Model, parameters, tasks, seeds and card of a `file_entry`."""
    of_tasks = f"{'the mean of ' if len(tasks) > 1 else ''}{counted(len(tasks), 'task')} ({', '.join(tasks)})"
    return (
        f"{file['model']} ({_parameters(file['parameters'])} parameters) on {of_tasks}, {counted(file['seeds'], 'seed')}, "
        f"measured on {file['card']} ({file['measured']})"
    )


def _parameters(number: int) -> str:
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return count(number)
