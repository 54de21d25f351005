"""Means over seeds and ratios of arms."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy.stats import t

from sunsim.figures.tables import means, ratios

FRAME = pd.DataFrame(
    {
        "rate": [1, 1, 1, 1, 2, 2, 2, 2],
        "seed": [1, 2, 1, 2, 1, 2, 1, 2],
        "arm": ["a", "a", "b", "b"] * 2,
        "overloaded": [False, False, False, True, False, False, False, False],
        "speed": [1.0, 3.0, 2.0, 12.0, 1.0, 1.0, 2.0, None],
    }
)


def test_means_have_student_s_interval_over_the_seeds() -> None:
    made = means(FRAME, ["rate", "arm"], ["speed"]).set_index(["rate", "arm"])
    assert made["speed"].tolist() == [2.0, 7.0, 1.0, 2.0]
    # Two values that lie 2 apart: standard error 1.
    assert made.loc[(1, "a"), "speed_half_width_95"] == pytest.approx(t.ppf(0.975, 1))
    assert made["overloaded"].tolist() == [False, True, False, False]
    assert made["speed_half_width_95"].isna().tolist() == [False, False, False, True]


def test_ratios_are_each_seed_s_own() -> None:
    made = ratios(FRAME, "b", "a", ["rate"], ["speed"])
    assert made["speed"].tolist()[:3] == [2.0, 4.0, 2.0]
    assert made["overloaded"].tolist() == [False, True, False, False]
    assert not made["base_overloaded"].any()
