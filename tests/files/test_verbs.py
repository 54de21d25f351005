"""Every verb that writes: killed amid its files, on a full disk, and where it cannot write at all."""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sunsim.cli import app
from sunsim.figures import run as figures_run
from sunsim.figures.registry import FIGURES
from sunsim.folder import read_manifest
from sunsim.plan import lab as lab_module
from sunsim.points.outcome import Outcome
from tests.files.dying import die_at, left_over, tree
from tests.files.quick import be_quick, in_this_process
from tests.plan.small import write_plan
from tests.sweep.small import write_sweep
from tests.synthetic import synthetic_profile
from tests.trace_files import write as write_trace
from tests.validation.runs import profile_document, stream, write_profile, write_run

Verb = Callable[[Path, Path], tuple[str, ...]]


def of_sweep(verb: str) -> Verb:
    return lambda folder, out: (verb, str(write_sweep(folder, "sweep: {seeds: 2}\n")), "--out", str(out))


def of_plan(folder: Path, out: Path) -> tuple[str, ...]:
    return "plan", str(write_plan(folder, "plan: {seeds: 1, size: none}\n")), "--out", str(out)


def of_figures(_: Path, out: Path) -> tuple[str, ...]:
    return "figures", "--only", "roofline", "--out", str(out)


def of_validate(folder: Path, out: Path) -> tuple[str, ...]:
    write_profile(folder / "p.json", profile_document(engine_start="start-1"))
    run = write_run(folder / "run.parquet", stream(100, 10.0))
    return "validate", str(run), "--profile", str(folder / "p.json"), "--out", str(out)


def of_trace(verb: str, out_name: str) -> Verb:
    return lambda folder, out: ("trace", verb, str(write_trace(folder, "csv")), "--out", str(out / out_name))


def of_profiles(folder: Path, out: Path) -> tuple[str, ...]:
    (folder / "p.json").write_text(json.dumps(synthetic_profile()))
    return "profiles", "show", str(folder / "p.json"), "--out", str(out / "p.png")


VERBS: dict[str, Verb] = {
    "run": of_sweep("run"),
    "sweep": of_sweep("sweep"),
    "split": of_sweep("split"),
    "plan": of_plan,
    "figures": of_figures,
    "validate": of_validate,
    "trace convert": of_trace("convert", "t.csv"),
    "trace describe": of_trace("describe", ""),
    "profiles show": of_profiles,
}
OF_A_FILE = {"trace convert", "trace describe", "profiles show"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and stderr."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return result.exit_code, result.stderr


def done(*arguments: str) -> None:
    code, _ = call(*arguments)
    # A plan that misses its SLO is written too.
    assert code in {0, 3}


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("verb", VERBS)
def test_a_kill_leaves_no_half_file_and_the_next_run_heals(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = VERBS[verb](tmp_path, out)
    done(*arguments)
    before = tree(out)
    # Where there is a manifest, it comes first and says what will be written.
    assert die_at(1 if verb in OF_A_FILE else 2, lambda: call(*arguments), ("replace",))
    (dead,) = left_over(out)
    names = {name: content for name, content in tree(out).items() if not (out / name).is_relative_to(dead)}
    assert names | {"manifest.json": b""} == before | {"manifest.json": b""}
    manifest = read_manifest(out)
    assert manifest is None if verb in OF_A_FILE else manifest and not manifest.complete
    done(*arguments)
    assert tree(out) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_one_line_and_keeps_what_was_there(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = VERBS[verb](tmp_path, out)
    monkeypatch.setattr(os, "fsync", full)
    code, stderr = call(*arguments)
    assert code == 2
    assert "cannot be written (No space left on device), must be a f" in stderr
    assert stderr.count("\n") == 1
    assert left_over(tmp_path) == []
    assert [path for path in tmp_path.rglob("*") if path.suffix in {".png", ".html", ".csv", ".parquet"} and path.is_relative_to(out)] == []  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["file/below", "n" * 300])
def test_a_place_that_cannot_be_is_one_line(verb: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, stderr = call(*VERBS[verb](tmp_path, tmp_path / place))
    assert code == 2
    assert "cannot be written (" in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["folder", "figure.svg", "figure.PNG"])
def test_a_profile_is_drawn_into_a_file_that_says_what_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(synthetic_profile()))
    (tmp_path / "folder").mkdir()
    out = tmp_path / name
    said = f"{out}: is no name of a figure, must end in .png or .pdf\n"
    assert call("profiles", "show", str(tmp_path / "p.json"), "--out", str(out)) == (2, said)


def test_figures_made_one_by_one_are_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(each for each in FIGURES if each.name == "roofline")
    done(*of_figures(tmp_path, tmp_path))
    second = type(first)("other", "Another", (), first.table, first.plot, first.seen, first.caption)
    monkeypatch.setattr(figures_run, "FIGURES", (second, first))
    for spoiled in (False, True):
        if spoiled:
            (tmp_path / "captions" / "roofline.md").write_text("half")
        done("figures", "--only", "other", "--out", str(tmp_path))
        text = (tmp_path / "figures.md").read_text()
        assert text.startswith("## Another\n")
        assert (f"## {first.title}\n" in text) != spoiled
        assert "half" not in text


def test_a_profile_edited_while_it_is_run_is_not_stored_under_its_new_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "profile.json"

    def edited(*_: object, **__: object) -> list[object]:
        profile.write_text(profile.read_text() + "\n")
        return []

    monkeypatch.setattr("sunsim.arms.simulate_arm", edited)
    for verb in ("run", "split"):
        code, stderr = call(*VERBS[verb](tmp_path, tmp_path / "out"))
        assert (code, stderr.split(": ")[1]) == (2, "was changed while it was simulated with, must stay as it is")
        assert not (tmp_path / "out").exists()


def test_a_profile_edited_while_a_plan_is_made_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = tmp_path / "profile.json"

    def edited(points: deque[Any], jobs: int, work: Callable[[Any], Outcome]) -> Iterator[Any]:
        for i, ended in enumerate(in_this_process(points, jobs, work)):
            if i == 1:
                profile.write_text(profile.read_text() + "\n")
            yield ended

    monkeypatch.setattr(lab_module, "run_local", edited)
    said = f"{profile}: was changed while it was simulated with, must stay as it is: give the command again\n"
    assert call(*of_plan(tmp_path, tmp_path / "out")) == (2, said)
    assert len(list((tmp_path / "out" / "points").iterdir())) == 1
    assert not (tmp_path / "out" / "plan.json").exists()


def test_an_arm_may_be_called_as_a_file_of_the_results(tmp_path: Path) -> None:
    verb, file, *rest = of_sweep("split")(tmp_path, tmp_path / "out")
    done(verb, file, *rest, "--set", "arms.sun.name=split.json", "--set", "arms.isolated.name=manifest.json")
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"split.json-2", "manifest.json-2"}


def test_a_damaged_point_of_a_plan_is_simulated_again_and_said(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = of_plan(tmp_path, out)
    done(*arguments)
    before = tree(out)
    damaged = min((out / "points").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (out / "plan.html").write_text("")
    code, stderr = call(*arguments)
    assert code in {0, 3}
    assert stderr == (
        f"{out}/points: damaged, so simulated again: 1 point ({damaged.name})\n"
        f"{out}: changed since the run before, so written anew: plan.html\n"
    )
    assert tree(out) == before
