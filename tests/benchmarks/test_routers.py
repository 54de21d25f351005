"""What the tables of routers say of figures made by hand."""

from __future__ import annotations

import pytest

from benchmarks.elastic.routers import ADMISSION, DEFAULT, ROUTERS, Cell, Figures, cells, change, highest_load, tables
from sunsim.report.terminal import plain


def figures(tpot_ms: float = 10.0, attainment: float = 100.0) -> Figures:
    return Figures(tpot_ms, tpot_ms, 30.0, attainment, 0.0)


def test_a_change_is_against_the_default_router_on_the_same_requests() -> None:
    found = [
        {DEFAULT: figures(10.0, 80.0), "x": figures(9.0, 81.0)},
        {DEFAULT: figures(20.0, 50.0), "x": figures(19.0, 53.0)},
    ]
    assert change(found, "x", "mean_tpot_ms") == "-7.5"
    assert change(found, "x", "attainment") == "+2.0"
    assert change(found, "absent", "attainment") == "-"


@pytest.mark.parametrize(("second", "said"), [(11.0, "(+3.0)"), (9.4, "0.0")])
def test_one_whose_seeds_disagree_is_in_brackets_and_none_is_none(second: float, said: str) -> None:
    found = [{DEFAULT: figures(10.0), "x": figures(each)} for each in (second, 10.6 if second < 10 else 9.6)]
    assert change(found, "x", "mean_tpot_ms") == said


def test_the_highest_load_is_on_the_line_between_two() -> None:
    at = {0.5: 100, 0.7: 100, 0.75: 100, 0.8: 99, 0.85: 97, 0.9: 93, 0.95: 80, 1.05: 10}
    found = {Cell("fixed", load): {DEFAULT: figures(attainment=share)} for load, share in at.items()}
    assert highest_load(found, "fixed", DEFAULT) == "0.875"
    always = {cell: {DEFAULT: figures()} for cell in found}
    assert highest_load(always, "fixed", DEFAULT) == "> 1.05"


def test_every_cell_has_its_place_in_a_table() -> None:
    found = {cell: {name: figures() for name in (ADMISSION if cell.admission else ROUTERS)} for cell in cells(2)}
    text = plain(tables(found), 120)
    assert "nan" not in text
    assert max(map(len, text.splitlines())) <= 120
