"""The block of accuracy.md: what the committed accuracy files of the experiment say, with its pictures."""

import json
from pathlib import Path
from typing import Any

from plots.accuracy import plot_accuracy, plot_curves
from profiler.tuning.experiment.experiment import text_of
from sunsim.latency.profile import profiles_root

TABLE_PICTURE, CURVES_PICTURE = "accuracy.png", "accuracy-curves.png"


def committed() -> list[dict[str, Any]]:
    """Accuracy files of the experiment, the smallest model first."""
    files = profiles_root().glob("*/accuracy/synthetic-*.json")
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
    return {"accuracy": f"{text}\n{pictures}"}
