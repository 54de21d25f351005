"""The heatmap of a plan's models: every name and number can be read, however many and long they are."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plots.model_heat import latency, slo_met

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODELS = [
    "support-chat",
    "sql-writer",
    "code-review",
    "legal-summary",
    "email-draft",
    "product-search",
    "translation-de",
    "meeting-notes",
    "fraud-check",
    "invoice-parser",
    "hr-assistant",
    "release-notes-and-what-else-there-is-to-tell-of-them",
]


def heat_arms(names: list[str]) -> dict[str, Any]:
    """Arms of a plan, as far as a heatmap looks at them; the first model meets 0.94, the last 1."""
    shares = dict(zip(MODELS, np.linspace(0.94, 1, len(MODELS)).tolist(), strict=True))
    attained = {"models": {model: {"share": share} for model, share in shares.items()}}
    entry = {"models": {model: {"p99_ttft_ms": 12_345.0 * share} for model, share in shares.items()}}
    return {name: {"attained": attained, "portrait": {"entry": entry}} for name in names}


@pytest.mark.parametrize(
    "names",
    [
        ["isolated", "sun"],
        ["isolated-colocated", "lora-colocated", "isolated", "lora", "sun", "qsun", "mixed-cards-h100-and-h200"],
    ],
)
def test_no_label_of_a_heatmap_lies_on_another(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        fig.draw_without_rendering()
        (axes,) = fig.axes
        box = {text.get_text(): text.get_window_extent() for text in axes.get_yticklabels()}
        assert len(box) == len(MODELS)
        rows = sorted(box.values(), key=lambda box: box.y0)
        assert all(one.y1 <= other.y0 for one, other in pairwise(rows))
        assert all(box.x0 >= 0 for box in rows)
        heads = axes.get_xticklabels()
        if heads[0].get_rotation():
            # Turned labels are parallel: they are apart if their lines are further from each other than they are high.
            apart = (heads[1].get_window_extent().x0 - heads[0].get_window_extent().x0) * np.sin(np.radians(35))
            assert apart > float(heads[0].get_fontsize()) * fig.dpi / 72
        else:
            places = [text.get_window_extent() for text in heads]
            assert all(one.x1 < other.x0 for one, other in pairwise(places))
        cell = axes.transData.transform([[0, 0], [1, 1]])
        assert all(text.get_window_extent().width < abs(cell[1] - cell[0])[0] for text in axes.texts)
        assert max(text.get_window_extent().y1 for text in heads) < fig.texts[0].get_window_extent().y0
        seen.append([text.get_text() for text in axes.texts])

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    slo_met(heat_arms(names), MODELS, 0.95)
    latency(heat_arms(names), MODELS, "p99_ttft_ms", dict.fromkeys(MODELS, 1000.0))
    met, late = seen
    assert met[: len(names)] == ["94.0!"] * len(names)
    assert met[-1] == "100.0"
    assert late[-1] == "12,345"


def test_of_many_models_the_worst_off_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def look(fig: Figure, *_: object, **__: object) -> None:
        seen["models"] = [text.get_text() for text in fig.axes[0].get_yticklabels()]
        seen["title"] = fig.texts[0].get_text()

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    names = [f"m{i}" for i in range(50)]
    shares = {"models": {name: {"share": 1 - i / 100} for i, name in enumerate(names)}}
    slo_met({"sun": {"attained": shares}}, names, 0.95)
    assert seen == {"models": names[10:], "title": "SLO met (% of requests); 10 better off left out"}
