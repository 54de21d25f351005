"""The folder that a validation leaves: JSON, the page, and three figures a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from plots.validation import plot_ecdfs, plot_over_time, plot_scatter
from sunsim.validation.page import page
from sunsim.validation.result import DOCUMENT, PAGE, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sunsim.folder import Results
    from sunsim.validation.arms import Comparison
    from sunsim.validation.floor import Pair
    from sunsim.validation.result import Validated


def write(
    to: Results,
    content: Mapping[str, Any],
    results: Sequence[Validated],
    floor: Sequence[Pair],
    comparisons: Sequence[Comparison] = (),
) -> None:
    """Write `validation.json`, `validation.html` and the PNGs.

    Raises:
        InputError: the folder cannot be written, or somebody else's file has one of these names.
    """
    with to.writing() as folder:
        (folder / DOCUMENT).write_text(to_json(content), encoding="utf-8")
        figures = {result.run.name: _draw(folder, result) for result in results}
        (folder / PAGE).write_text(page(results, floor, figures, comparisons), encoding="utf-8")


def _draw(out: Path, result: Validated) -> list[str]:
    """The run's figures as SVG; latencies that the role has none of are left out."""
    actual, simulated = result.run.served, result.replayed.served
    sides_ms = {
        name: (getattr(actual, key), getattr(simulated, key))
        for key, name in (("tpot_ms", "TPOT"), ("ttft_ms", "TTFT"), ("e2el_ms", "E2EL"))
        if not np.isnan(getattr(actual, key)).all() and not (result.run.meta.role == "prefill" and key == "e2el_ms")
    }
    main = next(iter(sides_ms))
    stays = {"requests running": ("scheduled_s", "last_s")}
    # Without a queue all that waits is who came in the middle of a step.
    if result.saturated or result.run.meta.role == "prefill":
        stays["requests waiting"] = ("queued_s", "scheduled_s")
    intervals_s = {
        title: (
            (getattr(actual, start), getattr(actual, end)),
            (getattr(simulated, start), getattr(simulated, end)),
        )
        for title, (start, end) in stays.items()
    }
    two = {name: sides_ms[name] for name in list(sides_ms)[:2]}
    return [
        plot_scatter(two, out / f"{result.run.name}-scatter.png"),
        plot_over_time(main, actual.submit_s, sides_ms[main], intervals_s, out / f"{result.run.name}-time.png"),
        plot_ecdfs(sides_ms, out / f"{result.run.name}-ecdf.png"),
    ]
