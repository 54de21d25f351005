"""Every shipped scenario: it says what it is for, passes the check, and gives the figures it gave before.

After a change that was meant to change figures, write them anew with ``python -m tests.golden.figures`` and look at the
difference in ``tests/golden/``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.run import check
from tests.golden.figures import FOLDER, SCENARIOS, figures, kept_in

scenarios = pytest.mark.parametrize("file", SCENARIOS, ids=[file.stem for file in SCENARIOS])


@scenarios
def test_first_line_says_what_it_is_for(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 30


@scenarios
def test_passes_the_check(file: Path) -> None:
    assert check(file, [], None).startswith(f"ok: {file.stem}: ")


@scenarios
def test_gives_the_figures_it_gave_before(file: Path) -> None:
    expected: dict[str, dict[str, Any]] = json.loads(kept_in(file).read_text(encoding="utf-8"))
    found = figures(file)
    assert list(found) == list(expected)
    for arm, kept in expected.items():
        for key, value in kept.items():
            assert found[arm][key] == value, f"{key} of {arm}"


def test_no_figures_are_kept_for_scenarios_that_are_gone() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == {file.stem for file in SCENARIOS}
