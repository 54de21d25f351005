"""The errors of the committed actual runs, as they are kept beside the runs, and how far they may grow."""

from __future__ import annotations

import json

from docs.fidelity import Errors
from sunsim.validation.folders import errors_file

KEPT = errors_file("h100-80gb")

SLACK_POINTS = 0.5
"""Percentage points that an error's size may grow by."""


def kept() -> Errors:
    """The errors as they were when they were last written."""
    content: Errors = json.loads(KEPT.read_text(encoding="utf-8"))
    return content


def write(now: Errors) -> None:
    """Keep these."""
    rounded = {
        name: {tag: None if error is None else round(error, 3) for tag, error in figures.items()}
        for name, figures in now.items()
    }
    KEPT.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def complaints(now: Errors, before: Errors) -> list[str]:
    """What is worse than it was, or is there on one side only; smaller errors are fine."""
    lines = [f"{name} is no longer there" for name in before if name not in now]
    for name, figures in now.items():
        if name not in before:
            lines.append(f"{name} is not in {KEPT.name}")
            continue
        for tag in figures.keys() | before[name].keys():
            error, was = figures.get(tag), before[name].get(tag)
            if error is None and was is None:
                continue
            if error is None or was is None:
                lines.append(f"{name}: {tag} is {_written(error)}, was {_written(was)}")
            elif abs(error) > abs(was) + SLACK_POINTS:
                lines.append(f"{name}: {tag} is off by {error:+.2f} %, was {was:+.2f} %")
    return sorted(lines)


def _written(error: float | None) -> str:
    return "not compared" if error is None else f"off by {error:+.2f} %"
