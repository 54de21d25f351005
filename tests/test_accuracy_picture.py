"""The pictures of the accuracy experiment show every method on every task."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from plots.accuracy import plot_accuracy, plot_curves

METHODS = ("base", "full", "prefill-only")


def document(parameters: int) -> dict[str, Any]:
    """An accuracy file with two tasks."""
    tasks = ["call-format", "math-words"]
    return {
        "parameters": parameters,
        "seeds": 1,
        "tasks": tasks,
        "rows": [
            {"method": method, "task": task, "exact_match": 0.5, "low": 0.4, "high": 0.6}
            for method in METHODS
            for task in tasks
        ],
        "curves": [
            {"method": method, "task": task, "steps": [1, 2], "validation_loss": [1.0, 0.0]}
            for method in METHODS[1:]
            for task in tasks
        ],
    }


@pytest.mark.parametrize("plot", [plot_accuracy, plot_curves])
def test_equal_data_give_equal_pictures_that_grow_with_the_sizes(tmp_path: Path, plot: Any) -> None:
    one, two, again = (tmp_path / f"{name}.png" for name in ("one", "two", "again"))
    plot([document(30_000_000)], one)
    plot([document(30_000_000), document(100_000_000)], two)
    plot([document(30_000_000)], again)
    assert one.read_bytes() == again.read_bytes()
    with Image.open(one) as small, Image.open(two) as large:
        assert large.height > 1.5 * small.height
