"""A picture drawn beside the simulation is the one that would be drawn here, also when that process is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim import artist as module
from sunsim.artist import Artist, artist
from tests.metrics.synthetic import toy_arm


@pytest.fixture
def here(tmp_path: Path) -> bytes:
    """The picture as this process draws it."""
    return picture(Artist(), tmp_path / "here.png")


def picture(by: Artist, path: Path) -> bytes:
    by.begin(
        ({"arm": toy_arm("arm", shared=True, decode_workers=2, duration_s=5.0).rows}, path, (0.0, 10.0), {"arm": 8})
    )
    by.end()
    return path.read_bytes()


def test_it_is_the_same_picture(here: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    with artist(module.MANY) as beside:
        assert beside._beside
        assert picture(beside, tmp_path / "beside.png") == here


def test_a_lost_process_costs_no_picture(here: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    with artist(module.MANY) as beside:
        assert beside._beside
        started = beside._beside.ask(None)
        started.result()
        for worker in beside._beside._crew._all:
            worker.kill()
        assert picture(beside, tmp_path / "lost.png") == here


def test_few_requests_are_not_worth_a_process() -> None:
    with artist(module.MANY - 1) as alone:
        assert alone._beside is None
