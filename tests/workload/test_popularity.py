"""Shares of the models against Zipf's closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sunsim.scenario import load_scenario
from sunsim.workload.popularity import draw_models
from tests.scenario_files import write_scenario


@pytest.mark.parametrize("alpha", [0.0, 0.8, 1.0, 3.0])
@pytest.mark.parametrize("count", [2, 4])
def test_zipf_shares(tmp_path: Path, alpha: float, count: int) -> None:
    overrides = [
        f"models.count={count}",
        f"models.popularity.alpha={alpha}",
        "arms.isolated.prefill=null",
    ]
    shares = load_scenario(write_scenario(tmp_path), overrides).model_shares
    ranks = np.arange(1, count + 1)
    assert shares == pytest.approx(ranks**-alpha / (ranks**-alpha).sum())
    drawn = draw_models(shares, (np.arange(100_000) + 0.5) / 100_000)
    assert np.bincount(drawn, minlength=count) / 100_000 == pytest.approx(shares, abs=2e-5)


def test_weights_are_normalised(tmp_path: Path) -> None:
    overrides = [
        "models=[{name: a, weight: 1}, {name: b, weight: 3}]",
        "arms.isolated.prefill=null",
    ]
    scenario = load_scenario(write_scenario(tmp_path), overrides)
    assert scenario.model_names == ("a", "b")
    assert scenario.model_shares == (0.25, 0.75)
