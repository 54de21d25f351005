"""Where something holds: shares, boxes and verdicts."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from sunsim.figures.regions import region

FACTORS = ("x", "y")


def settings(holding: set[tuple[int, int]]) -> pd.DataFrame:
    """A grid of four by four."""
    return pd.DataFrame([{"x": x, "y": y, "holds": (x, y) in holding} for x, y in product(range(4), range(4))])


@pytest.mark.parametrize(
    ("holding", "verdict"),
    [
        (set(), "not reproduced"),
        (set(product(range(4), range(4))), "reproduced in the whole region"),
        (set(product((1, 2), range(4))), "reproduced in this region: x 1 to 2"),
        (set(product((3,), range(4))), "reproduced in this region: x 3"),
        ({(0, 0), (2, 0), (3, 0)}, "depends on y"),
    ],
)
def test_verdicts(holding: set[tuple[int, int]], verdict: str) -> None:
    assert region(settings(holding), FACTORS).verdict == verdict


def test_the_largest_box_holds_throughout() -> None:
    found = region(settings({(0, 0), *product((1, 2), (1, 2, 3)), (3, 3)}), FACTORS)
    assert found.box == {"x": (1, 2), "y": (1, 3)}
    assert found.box_settings == 6
    assert (found.held, found.settings) == (8, 16)
    assert found.shares["x"] == {0: 0.25, 1: 0.75, 2: 0.75, 3: 0.25}
