"""The block of accuracy.md: what the committed accuracy files of the experiment say, with its pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plots.accuracy import plot_accuracy, plot_curves
from profiler.tuning.experiment.experiment import text_of
from sunsim.accuracy.verdict import CLAIMS, losses
from sunsim.latency.profile import profiles_root

TABLE_PICTURE, CURVES_PICTURE = "accuracy.png", "accuracy-curves.png"
LONGER = "longer"
"""Folder beside the experiment's files: some of its tunings with more steps, from the same base models."""


def committed(folder: str = ".") -> list[dict[str, Any]]:
    """Accuracy files of the experiment, the smallest model first."""
    files = profiles_root().glob(f"*/accuracy/{folder}/synthetic-*.json")
    documents: list[dict[str, Any]] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return sorted(documents, key=lambda document: document["parameters"])


def accuracy(folder: Path) -> dict[str, str]:
    """Tables and verdicts; draws the pictures into a folder, none where nothing is committed."""
    documents = committed()
    if not documents:
        return {"accuracy": "Not measured yet.\n"}
    plot_accuracy(documents, folder / TABLE_PICTURE)
    plot_curves(documents, folder / CURVES_PICTURE)
    text = text_of({document["model"]: document for document in documents})
    pictures = (
        f"![Exact match of each method on each task]({TABLE_PICTURE})\n\n"
        f"![Validation loss of each tuning]({CURVES_PICTURE})\n"
    )
    return {"accuracy": f"{text}\n{pictures}", "accuracy-longer": longer(documents)}


def longer(documents: Sequence[Mapping[str, Any]]) -> str:
    """What SUN and QSUN lose against full tuning with the usual steps and with more, by task, as Markdown."""
    usual = {document["model"]: document for document in documents}
    claims = [claim for claim in CLAIMS if claim.method.startswith("prefill-only") and claim.against == "full"]
    parts = []
    for more in committed(LONGER):
        both = (usual[more["model"]], more)
        heads = ["task", *(f"{claim.method}, {of['tuning']['steps']} steps" for claim in claims for of in both)]
        found = [losses(of, claim, more["tasks"]) for claim in claims for of in both]
        rows = [[task, *(str(loss[task]) for loss in found)] for task in more["tasks"]]
        lines = [heads, ["---"] * len(heads), *rows]
        parts.append(
            f"**{more['parameters'] / 1e6:.1f} million parameters**, points of exact match lost against full tuning of as many"
            f" steps; {both[0]['seeds']} seeds and {more['seeds']}:\n\n"
            + "".join(f"| {' | '.join(line)} |\n" for line in lines)
        )
    return "\n".join(parts)
