"""The pictures that a run leaves beside its numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plots.elastic import plot_elastic
from plots.rounds import plot_rounds
from plots.throughput import plot_throughput
from plots.tpot_ecdf import plot_tpot_ecdf
from sunsim.artist import Artist
from sunsim.metrics.rows import Requests, Window
from sunsim.metrics.slo import limit_values


def draw(
    folder: Path,
    rows: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    artist: Artist,
    sizes: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write `throughput.png` and `tpot.png`, and have the artist begin `workers.png`.

    Of sessions also `rounds.png`, of elastic pools `elastic.png`. One that has nothing to show is left out.

    Args:
        rows: by arm.
        sizes: of arms with elastic pools.
    """
    entries = summary["arms"]
    window = Window(**summary["window"])
    places = {
        name: max((w["max_num_seqs"] for w in entry["workers"].values() if w["stage"] == "decode"), default=0)
        for name, entry in entries.items()
    }
    artist.begin((rows, folder / "workers.png", (window.start_s, window.end_s), places))
    limits_ms = limit_values(summary["slo"] or {}, next(iter(entries.values()))["models"]).get("tpot_ms", [])
    tpot_ms = {}
    for name, frame in rows.items():
        requests = Requests.from_rows(frame)
        tpot_ms[name] = requests.where(window.holds(requests.arrival_s)).tpot_s * 1000
    if any(entry["output_throughput_window"] for entry in entries.values()):
        plot_throughput(entries, folder / "throughput.png", limits_ms)
    if any(entry["mean_tpot_ms"] is not None for entry in entries.values()):
        plot_tpot_ecdf(tpot_ms, folder / "tpot.png", limits_ms)
    if any(len(entry.get("rounds", ())) > 1 for entry in entries.values()):
        plot_rounds(entries, folder / "rounds.png")
    if sizes:
        plot_elastic(rows, sizes, summary, folder / "elastic.png")
