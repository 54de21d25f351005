"""The folder that a validation leaves: JSON, the page, and three figures a run."""

from pathlib import Path

import numpy as np

from plots.validation import plot_ecdfs, plot_over_time, plot_scatter
from sunsim.folder import Results
from sunsim.metrics import to_json
from sunsim.report.html import to_html
from sunsim.validation.report import page
from sunsim.validation.result import DOCUMENT, PAGE, Validation, document
from sunsim.validation.worker import Validated


def write(to: Results, validation: Validation) -> None:
    """Write `validation.json`, `validation.html` and the PNGs.

    Raises:
        InputError: the folder cannot be written, or somebody else's file has one of these names.
    """
    with to.writing() as folder:
        (folder / DOCUMENT).write_text(to_json(document(validation)), encoding="utf-8")
        pictures = {result.name: _draw(folder, result) for result in validation.results}
        (folder / PAGE).write_text(to_html(page(validation, pictures)), encoding="utf-8")


def _draw(out: Path, result: Validated) -> list[str]:
    """The run's figures as SVG; latencies that the role has none of are left out."""
    actual, simulated = result.run.served, result.replayed.served
    sides_ms = {
        name: (getattr(actual, key), getattr(simulated, key))
        for key, name in (("tpot_ms", "TPOT"), ("ttft_ms", "TTFT"), ("e2el_ms", "E2EL"))
        if not np.isnan(getattr(actual, key)).all() and not (result.run.meta.prefills_only and key == "e2el_ms")
    }
    main = next(iter(sides_ms))
    stays = {"requests running": ("scheduled_s", "last_token_s")}
    # Without a queue all that waits is who came in the middle of a step.
    if result.saturated or result.run.meta.prefills_only:
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
        plot_scatter(two, out / f"{result.name}-scatter.png"),
        plot_over_time(main, actual.submit_s, sides_ms[main], intervals_s, out / f"{result.name}-time.png"),
        plot_ecdfs(sides_ms, out / f"{result.name}-ecdf.png"),
    ]
