"""A folder of results: what its manifest says, what a rerun replaces, and that two runs' files never mix unnoticed."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.folder import MANIFEST, Results, read_manifest
from tests.files.dying import die_at, left_over, tree

OLD = {"a.txt": "old a", "b.txt": "old b", "sub/c.txt": "old c"}
NEW = {"a.txt": "new a", "sub/c.txt": "new c", "sub/d.txt": "new d"}


def write(out: Path, files: dict[str, str], *, verb: str = "run", adding: bool = False) -> None:
    with Results(out, verb).writing(adding=adding) as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def texts(out: Path) -> dict[str, str]:
    """All files but the manifest and what lies in a dead writer's folder."""
    return {
        name: content.decode() for name, content in tree(out).items() if name != MANIFEST and ".partial/" not in name
    }


def whole(out: Path) -> bool:
    manifest = read_manifest(out)
    return manifest is not None and manifest.complete and not manifest.broken(out)


def test_the_manifest_lists_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD)
    manifest = read_manifest(tmp_path / "out")
    assert manifest
    assert set(manifest.files) == set(OLD)
    assert whole(tmp_path / "out")
    (tmp_path / "out" / "a.txt").write_text("changed")
    (tmp_path / "out" / "b.txt").unlink()
    assert manifest.broken(tmp_path / "out") == ["a.txt", "b.txt"]


def test_a_rerun_replaces_its_own_and_keeps_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    own = {"mine.png": "mine", "sub/mine.csv": "mine", "further/mine": "mine"}
    for name, text in own.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(text)
    write(out, NEW)
    assert texts(out) == NEW | own
    assert whole(out)
    assert capsys.readouterr().err == ""


def test_what_a_run_no_longer_writes_goes_unless_it_was_changed(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD)
    (tmp_path / "out" / "b.txt").write_text("annotated")
    write(tmp_path / "out", {"a.txt": "new a"})
    assert texts(tmp_path / "out") == {"a.txt": "new a", "b.txt": "annotated"}


def test_what_is_added_to_stays(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD)
    write(tmp_path / "out", {"d.txt": "d"}, adding=True)
    assert texts(tmp_path / "out") == OLD | {"d.txt": "d"}
    assert whole(tmp_path / "out")


def test_what_changed_since_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    (out / "a.txt").write_text("old A")
    (out / "sub" / "c.txt").unlink()
    write(out, OLD)
    assert capsys.readouterr().err == f"{out}: changed since the run before, so written anew: a.txt, sub/c.txt\n"
    assert texts(out) == OLD


@pytest.mark.parametrize("nth", range(1, 17))
def test_killed_anywhere_it_is_old_or_new_or_recognisably_neither(
    tmp_path: Path, nth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    killed = die_at(nth, lambda: write(out, NEW))
    assert all(text in {OLD.get(name), NEW.get(name)} for name, text in texts(out).items())
    assert not whole(out) or texts(out) in (OLD, NEW)
    assert killed or whole(out)
    stopped = not whole(out)
    write(out, NEW)
    assert capsys.readouterr().err.endswith("stopped while it wrote its files; they are written anew\n") == stopped
    assert texts(out) == NEW
    assert whole(out)
    assert left_over(tmp_path) == []
    # All of its steps have been gone through.
    assert killed == (nth <= 15)


def test_a_first_run_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    for nth in range(1, 6):
        assert die_at(nth, lambda: write(tmp_path / "out", OLD), ("replace",))
        assert not whole(tmp_path / "out")
    write(tmp_path / "out", OLD)
    assert texts(tmp_path / "out") == OLD


def test_a_link_to_the_folder_stays(tmp_path: Path) -> None:
    write(tmp_path / "far", OLD)
    (tmp_path / "link").symlink_to("far")
    (tmp_path / "dangling").symlink_to("later")
    for name in ("link", "dangling"):
        write(tmp_path / name, NEW)
        assert (tmp_path / name).is_symlink()
        assert texts(tmp_path / name) == NEW
    assert texts(tmp_path / "far") == NEW


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sub", lambda path: path.symlink_to("../elsewhere")),
        ("sub", lambda path: path.write_text("a file")),
        ("a.txt", lambda path: path.mkdir()),
        ("d.txt", lambda path: path.write_text("mine")),
        ("d.txt", lambda path: path.symlink_to("../elsewhere/c.txt")),
    ],
)
def test_what_is_in_the_way_is_refused_before_anything_is_replaced(tmp_path: Path, name: str, make: object) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.txt").write_text("theirs")
    write(out, {"b.txt": "old"})
    before = tree(out)
    assert callable(make)
    make(out / name)
    with pytest.raises(InputError, match=f"out/{name}: is not what sunsim run wrote, must be moved away"):
        write(out, NEW | {"d.txt": "new", "b.txt": "new"})
    assert (elsewhere / "c.txt").read_text() == "theirs"
    assert before.items() <= tree(out).items()


def test_nothing_is_removed_through_a_linked_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    (out / "sub").rename(tmp_path / "elsewhere")
    (out / "sub").symlink_to("../elsewhere")
    write(out, {"a.txt": "new a"})
    assert (tmp_path / "elsewhere" / "c.txt").read_text() == "old c"


def test_a_planted_manifest_removes_nothing_outside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    (tmp_path / "victim").write_text("old a")
    content = json.loads((out / MANIFEST).read_text())
    content["files"]["../victim"] = content["files"]["a.txt"]
    (out / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(InputError, match="holds something else"):
        write(out, {"b.txt": "new"})
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize("names", [["other.txt"], [MANIFEST]])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="holds something else than results of sunsim run"):
        Results(tmp_path, "run")


def test_results_of_another_verb_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD, verb="sweep")
    with pytest.raises(InputError, match="holds something else than results of sunsim run"):
        write(tmp_path / "out", NEW)
    assert texts(tmp_path / "out") == OLD


def test_results_without_a_manifest_are_known_by_their_marks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("of an earlier version")
    (tmp_path / "mine.png").write_text("mine")
    with Results(tmp_path, "run", ("a.txt",)).writing() as folder:
        (folder / "a.txt").write_text("new")
    assert texts(tmp_path) == {"a.txt": "new", "mine.png": "mine"}


def test_a_folder_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD)
    results = Results(tmp_path / "out", "run")
    for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "out").rmdir()
    with results.writing() as folder:
        (folder / "a.txt").write_text("new a")
    assert whole(tmp_path / "out")


def test_a_full_disk_is_one_line_and_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    write(out, OLD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        InputError, match=r"cannot be written \(No space left on device\), must be a folder for results"
    ):
        write(out, NEW)
    assert texts(out) == OLD
    assert whole(out)


def test_results_are_refused_before_anything_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/below", "n" * 300, "new/" + "n" * 300):
        with pytest.raises(InputError, match="cannot be written"):
            Results(tmp_path / name, "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_runs_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    texts_of = [{f"{i}.txt": f"run {k}, {i}" for i in range(20)} for k in range(4)]
    threads = [threading.Thread(target=write, args=(tmp_path / "out", texts)) for texts in texts_of]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts(tmp_path / "out") in texts_of
    assert whole(tmp_path / "out")


def test_ctrl_c_amid_the_files_says_what_that_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    write(tmp_path / "out", OLD)
    monkeypatch.setattr(os, "replace", pressed)
    with pytest.raises(KeyboardInterrupt, match="out was written, the same command writes it anew"):
        write(tmp_path / "out", NEW)


def test_a_manifest_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"mine": 1}')
    with (
        pytest.raises(InputError, match=r"manifest\.json: is not what sunsim validate wrote, must be moved away"),
        Results(tmp_path, "validate", anywhere=True).writing() as folder,
    ):
        (folder / "a.txt").write_text("new")
    assert tree(tmp_path) == {MANIFEST: b'{"mine": 1}'}
