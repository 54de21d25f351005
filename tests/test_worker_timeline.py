"""Decode workers over time: few are drawn apart, many by pool, always with a legend and a unit that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.colors import to_rgb

from plots.style import looks, shades
from plots.worker_timeline import plot_worker_timeline
from tests.metrics.synthetic import table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import pytest
    from matplotlib.figure import Figure


def decoding(workers: dict[str, int], end_s: float = 10.0) -> pd.DataFrame:
    """Rows of workers that each decode so many requests from 1 s to `end_s`."""
    stamps = {"arrival_s": 0.0, "prefill_end_s": 0.5, "decode_scheduled_s": 1.0, "last_token_s": end_s}
    return table(*({"decode_worker": name, **stamps} for name, requests in workers.items() for _ in range(requests)))


def legends(fig: Figure) -> list[str]:
    """Labels of all legends inside the figure's panels."""
    found = [axes.get_legend() for axes in fig.axes]
    return [text.get_text() for legend in found if legend for text in legend.get_texts()]


def test_eight_workers_are_drawn_by_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[list[str]] = []
    bands: list[list[Any]] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        labels.append(legends(fig))
        bands.append([axes.collections[0].get_datalim(axes.transData).extents for axes in fig.axes if axes.collections])

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    seven = {f"decode/shared/{i}": i + 1 for i in range(7)}
    for workers in (seven, {**seven, "decode/shared/7": 20}, {f"decode/m{i}/0": 9 - i for i in range(9)}):
        rows = decoding(workers)
        plot_worker_timeline({"sun": rows}, tmp_path / "workers.png", (0.0, 10.0), {"sun": 256})
    assert labels[0] == [f"shared/{i}" for i in range(7)]
    assert labels[1] == ["shared, 8 workers"]
    assert labels[2] == [*(f"m{i}, 1 worker" for i in range(5)), "4 other pools, 4 workers"]
    (decoding_band, _waiting) = bands[1]
    assert decoding_band[3] == 20
    assert not bands[0]


def test_workers_are_shades_of_their_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Any]] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        seen.extend([to_rgb(line.get_color()) for line in axes.lines[:2]] for axes in fig.axes[::2])

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    one, two = decoding({"decode/shared/0": 3}), decoding({"decode/shared/0": 3, "decode/shared/1": 4})
    arms = {"isolated": two.assign(decode_worker=None), "sun": one, "lora": two}
    plot_worker_timeline(arms, tmp_path / "workers.png", (0.0, 10.0), dict.fromkeys(arms, 256))
    look_of = looks(arms)
    assert seen[0][0] == to_rgb(look_of["sun"].colour)
    assert seen[1] == shades(look_of["lora"].colour, 2)


def test_a_long_run_has_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def look(fig: Figure, *_: object, **__: object) -> None:
        seen["labels"] = [axes.get_xlabel() for axes in fig.axes]
        seen["ends"] = [axes.get_xlim() for axes in fig.axes]

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    rows = decoding({"decode/shared/0": 3}, end_s=900.0)
    plot_worker_timeline({"sun": rows}, tmp_path / "workers.png", (0.0, 900.0), {"sun": 256})
    assert seen == {"labels": ["time (min); shaded: measured"] * 2, "ends": [(0.0, 15.0)] * 2}
