"""PPD's cells, and what is counted over them."""

import pandas as pd
import pytest

from benchmarks.sessions.cells import (
    BY_CHANCE,
    COMPARED,
    DURATION_S,
    Cell,
    Figures,
    arms,
    arrivals_s,
    cells,
    figures,
    rows_of,
)
from benchmarks.sessions.ppd import apart, best_table, change, kind_of, winner

CELL = Cell("large", "big_paste", 4)


def test_there_are_18_loads_at_ten_rates() -> None:
    assert len(cells(1)) == 180
    assert len(set(cells(3))) == 540


def test_every_arm_has_four_gpus() -> None:
    found = arms()
    gpus = [sum(pool["workers"] for pool in arm.values() if isinstance(pool, dict)) for arm in found]
    assert gpus == [4] * 13
    assert set(COMPARED) <= {arm["name"] for arm in found}


@pytest.mark.parametrize("seed", range(20))
def test_conversations_begin_in_time(seed: int) -> None:
    found = arrivals_s(Cell("small", "tiny", 0.5, seed))
    assert found.size
    assert (found[1:] > found[:-1]).all()
    assert found[-1] < DURATION_S


def test_second_prompt_holds_all_that_was_said() -> None:
    rows = rows_of(CELL, 4)
    assert len(rows) == 2 * arrivals_s(CELL).size
    for opening, following in zip(rows[::2], rows[1::2], strict=True):
        assert (opening["session"], opening["model"]) == (following["session"], following["model"])
        assert following["prompt_tokens"] == 1024 + 1024 + 512
        assert following["think_s"] == 0
    assert {row["model"] for row in rows} == {"m1", "m2", "m3", "m4"}


def test_figures_are_of_second_turns() -> None:
    rows = pd.DataFrame(
        {
            "round": [0, 1, 1],
            "arrival_s": [0.0, 2.0, 3.0],
            "first_token_s": [1.0, 2.1, 3.3],
            "last_token_s": [2.0, 2.3, 3.7],
            "output_tokens": [2, 3, 3],
        }
    )
    assert figures(rows) == pytest.approx(Figures(200, 150))


def test_change_is_the_mean_over_cells() -> None:
    found = {
        CELL: {"local": Figures(50, 8), "whole": Figures(100, 8)},
        Cell("small", "tiny", 1): {"local": Figures(90, 8), "whole": Figures(100, 8)},
    }
    assert change(found, "local", "whole", lambda _: True) == pytest.approx(-30)
    assert change(found, "local", "whole", lambda cell: cell == CELL) == pytest.approx(-50)


@pytest.mark.parametrize(("near", "parted"), [(0.0, True), (0.02, True), (0.05, False)])
def test_apart_where_nothing_is_near_both_bests(near: float, parted: bool) -> None:
    assert apart({"a": Figures(100, 10.4), "b": Figures(110, 10)}, near) is parted


def test_one_that_is_best_in_both_is_enough() -> None:
    assert not apart({"a": Figures(100, 10), "b": Figures(110, 11)}, 0)


def test_winners_have_a_kind() -> None:
    of = {"4R": Figures(100, 12), "2P2D-whole": Figures(300, 10), "2P2D-local": Figures(90, 11)}
    assert [winner(of, index) for index in (0, 1)] == ["local", "remote"]
    assert kind_of("4R") == "4R"


def test_best_table_counts_each_way_to_draw_arrivals() -> None:
    of = {arm: Figures(100 + i, 10 + i) for i, arm in enumerate(COMPARED)}
    worse = of | {BY_CHANCE: Figures(200, 20)}
    rows = {row[0]: row[1:] for row in best_table({CELL: of}, {CELL: worse}).rows}
    assert rows["best TTFT: 4R"] == ("63.3", "100.0", "100.0", "0.0")
    assert rows["best TPOT: remote"] == ("38.3", "0.0", "0.0", "100.0")
    assert rows["no configuration is best in both"] == ("92.2", "0.0", "0.0", "0.0")
