"""Kept points that were damaged, and results made from them: made again, said, and then as if nothing had been."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sunsim.folder import read_manifest
from sunsim.points.outcome import Outcome
from sunsim.points.point import Point
from sunsim.points.store import POINTS, Store
from sunsim.sweep import run as sweep_run
from sunsim.sweep.grid import load_grid
from sunsim.sweep.result import PICTURE, SUMMARY, TABLE
from tests.files.dying import tree
from tests.files.quick import be_quick, in_this_process
from tests.plan.small import invoke
from tests.points.damage import KINDS
from tests.sweep.small import write_sweep

SWEEP = f"sweep: {{seeds: {len(KINDS) + 2}}}\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenario of a sweep; its results lie beside it in `out`."""
    folder = tmp_path_factory.mktemp("damage")
    file = write_sweep(folder, SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        be_quick(patch)
        assert invoke("sweep", file, "--out", folder / "out", "--quiet") == (0, "", "")
    return file


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A copy of these results."""
    shutil.copytree(done.parent / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_point_is_no_point_until_it_is_kept_again(
    done: Path, out: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(out)
    first, second, *_ = load_grid(done).points()
    rows = store.rows(first)
    assert rows
    (path,) = (path for path in store.folder.iterdir() if f'"seed": {first.seed},' in path.read_text())
    (other,) = (path for path in store.folder.iterdir() if f'"seed": {second.seed},' in path.read_text())
    intact = path.read_bytes()
    KINDS[kind](path, other)
    assert store.rows(first) is None
    store.tell_damage()
    assert path.name in capsys.readouterr().err
    store.keep(first, rows)
    assert path.read_bytes() == intact
    assert store.rows(first) == rows
    assert store.rows(second)


def test_a_sweep_over_damage_of_every_kind_ends_as_if_nothing_had_been(done: Path, out: Path) -> None:
    before = tree(out)
    paths = sorted((out / POINTS).iterdir())
    for path, damage in zip(paths, KINDS.values(), strict=False):
        damage(path, paths[-1])
    code, stdout, stderr = invoke("sweep", done, "--out", out, "--quiet")
    assert (code, stdout) == (0, "")
    assert stderr.startswith(f"{out}/points: damaged, so simulated again: {len(KINDS)} points ({paths[0].name}, ")
    assert tree(out) == before
    assert invoke("sweep", done, "--out", out, "--quiet") == (0, "", "")


@pytest.mark.parametrize("name", [TABLE, SUMMARY, PICTURE])
@pytest.mark.parametrize("kind", ["empty", "a bit flipped in the rows", "gone", "another's"])
def test_damaged_results_are_made_again(done: Path, out: Path, name: str, kind: str) -> None:
    before = tree(out)
    if kind == "gone":
        (out / name).unlink()
    elif kind == "another's":
        shutil.copyfile(out / (TABLE if name != TABLE else PICTURE), out / name)
    else:
        KINDS[kind](out / name, out)
    manifest = read_manifest(out)
    assert manifest
    assert manifest.broken(out) == [name]
    said = f"{out}: changed since the run before, so written anew: {name}\n"
    assert invoke("sweep", done, "--out", out, "--quiet") == (0, "", said)
    assert tree(out) == before


def test_points_that_are_lost_meanwhile_are_told(done: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def losing(points: Sequence[Point], jobs: int, work: Callable[[Point], Outcome]) -> Iterator[Any]:
        yield from in_this_process(points, jobs, work)
        shutil.rmtree(out)

    min((out / POINTS).iterdir()).unlink()
    monkeypatch.setattr(sweep_run, "run_local", losing)
    code, _, stderr = invoke("sweep", done, "--out", out, "--quiet")
    assert code == 1
    assert f"{len(KINDS) + 2} of {len(KINDS) + 2} points failed:\n" in stderr
    assert "its kept file was lost or damaged meanwhile, the same command simulates it again" in stderr
    assert len(json.loads((out / SUMMARY).read_text())["failed"]) == len(KINDS) + 2


def test_a_profile_edited_meanwhile_ends_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = write_sweep(tmp_path, "sweep: {seeds: 3}\n"), tmp_path / "out"
    profile = tmp_path / "profile.json"
    text = profile.read_text()

    def edited(points: Sequence[Point], jobs: int, work: Callable[[Point], Outcome]) -> Iterator[Any]:
        for done, each in enumerate(in_this_process(points, jobs, work)):
            if done == 1:
                profile.write_text(text.replace("7.1", "9.1"))
            yield each

    monkeypatch.setattr(sweep_run, "run_local", edited)
    said = f"{profile}: was changed while it was simulated with, must stay as it is: give the command again\n"
    assert invoke("sweep", file, "--out", out, "--quiet") == (2, "", said)
    assert len(list((out / POINTS).iterdir())) == 1
    monkeypatch.setattr(sweep_run, "run_local", in_this_process)
    assert invoke("sweep", file, "--out", out, "--quiet") == (0, "", "")
    assert len(list((out / POINTS).iterdir())) == 4
    fresh = tmp_path / "fresh"
    assert invoke("sweep", file, "--out", fresh, "--quiet") == (0, "", "")
    assert (out / TABLE).read_bytes() == (fresh / TABLE).read_bytes()
