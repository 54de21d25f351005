"""The errors of the committed actual runs, as they are kept beside the runs, and how far they may grow."""

from __future__ import annotations

import json

from docs.fidelity import Errors
from sunsim.latency.profile import profiles_root
from sunsim.validation.folders import errors_file

CARDS = {folder.name: folder.parent.parent.name for folder in profiles_root().glob("*/actual-*/*/")}
"""The card of each campaign and cluster."""

KEPT = {card: errors_file(card) for card in sorted({*CARDS.values()})}
"""The file of each card."""

SLACK_POINTS = 0.5
"""Percentage points that an error's size may grow by."""


def kept() -> Errors:
    """The errors of all cards as they were when they were last written."""
    content: Errors = {}
    for path in KEPT.values():
        if path.is_file():
            content |= json.loads(path.read_text(encoding="utf-8"))
    return content


def write(now: Errors) -> None:
    """Keep these, each card's beside its runs."""
    rounded = {
        name: {tag: None if error is None else round(error, 3) for tag, error in figures.items()}
        for name, figures in now.items()
    }
    for card, path in KEPT.items():
        of_card = {name: figures for name, figures in rounded.items() if CARDS[name.split("/")[0]] == card}
        path.write_text(json.dumps(of_card, indent=1) + "\n", encoding="utf-8")


def complaints(now: Errors, before: Errors) -> list[str]:
    """What is worse than it was, or is there on one side only; smaller errors are fine."""
    lines = [f"{name} is no longer there" for name in before if name not in now]
    for name, figures in now.items():
        if name not in before:
            lines.append(f"{name} has no errors kept")
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
