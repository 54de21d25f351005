"""Writing one file: whole or not at all, through links, never in the place of a device, and nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.files import PREFIX, SUFFIX, clean_up, replacing, staging
from tests.files.dying import KilledError, die_at, left_over

HOLDER = """
import sys
import tempfile
from pathlib import Path
from sunsim.files import staging
with staging(Path(sys.argv[1])) as partial:
    (partial / "half").write_text("half")
    print(partial, flush=True)
    sys.stdin.read()
"""


def put(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.csv"
    with replacing(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.suffix == path.suffix
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert [each.name for each in path.parent.iterdir()] == ["a.csv"]


def test_it_has_the_mode_that_any_new_file_has(tmp_path: Path) -> None:
    put(tmp_path / "a", "")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_failed_writer_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "a"
    put(path, "before")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text(str(1 / 0))
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("nth", range(1, 5))
def test_killed_anywhere_it_is_the_old_or_the_new_file_and_the_next_cleans_up(tmp_path: Path, nth: int) -> None:
    path = tmp_path / "a"
    put(path, "old")
    killed = die_at(nth, lambda: put(path, "new"))
    # It has three steps: the file's flush, its rename, and the folder's flush.
    assert killed == (nth <= 3)
    assert path.read_text() == ("new" if nth > 2 else "old")
    assert len(left_over(tmp_path)) == (1 if killed else 0)
    put(path, "newer")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "newer"


def test_it_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle: int) -> None:
        done.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def replaced(source: Path, target: Path) -> None:
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    put(tmp_path / "a", "")
    assert done == ["a", "replace", tmp_path.name]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link, dangling = tmp_path / "far" / "t.csv", tmp_path / "link.csv", tmp_path / "dangling.csv"
    target.write_text("old")
    link.symlink_to(target)
    dangling.symlink_to("far/later.csv")
    for path in (link, dangling):
        put(path, "new")
        assert path.is_symlink()
        assert path.resolve().read_text() == "new"
    assert target.read_text() == "new"


def test_what_is_no_file_is_refused_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    for name, kind in (("pipe", "a device"), ("folder", "a folder"), ("null", "a device")):
        with pytest.raises(InputError, match=f"{name}: is {kind}"):
            put(tmp_path / name, "new")
    assert (tmp_path / "pipe").is_fifo()
    assert Path("/dev/null").is_char_device()


def test_the_command_s_own_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,100,10\n")
    command = [sys.executable, "-c", "from sunsim.cli import app; app()", "trace", "convert", "t.csv", "--out"]
    with (tmp_path / "out.csv").open("w") as out:
        for path in ("/dev/stdout", "out.csv"):
            done = subprocess.run(
                [*command, path], cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True, check=False
            )
            said = f"{path}: is this command's own output, must be a file\n"
            assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("name", ["n" * 300, "file/below"])
def test_a_place_that_cannot_be_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written \(.+\), must be a file") as raised:
        put(tmp_path / name, "")
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_one_line_and_keeps_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put(tmp_path / "a", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a: cannot be written \(No space left on device\), must be a file"):
        put(tmp_path / "a", "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
    assert (tmp_path / "a").read_text() == "old"


def test_the_living_keep_theirs_and_the_dead_do_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    partial = Path(holder.stdout.readline().strip())
    clean_up(tmp_path)
    put(tmp_path / "a", "")
    assert (partial / "half").read_text() == "half"
    holder.kill()
    holder.communicate()
    assert partial.exists()
    clean_up(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "kept").write_text("kept")
    place = tmp_path / "place"
    place.mkdir()
    (place / f"{PREFIX}x{SUFFIX}").symlink_to(tmp_path / "victim")
    (place / f".{os.getpid()}.partial.a").symlink_to(tmp_path / "victim" / "kept")
    put(place / "a", "new")
    assert (tmp_path / "victim" / "kept").read_text() == "kept"


def test_two_writers_with_one_process_id_do_not_meet(tmp_path: Path) -> None:
    with staging(tmp_path) as one, staging(tmp_path) as other:
        assert one != other


def test_one_taken_for_dead_before_it_was_locked_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tempfile.mkdtemp
    calls = iter((True, False))

    def taken(suffix: str, prefix: str, folder: Path) -> str:
        name = made(suffix, prefix, folder)
        if next(calls):
            clean_up(tmp_path)
        return name

    monkeypatch.setattr(tempfile, "mkdtemp", taken)
    with staging(tmp_path) as partial:
        assert partial.is_dir()


def test_dying_is_no_exception_that_a_verb_catches() -> None:
    assert not issubclass(KilledError, Exception)
