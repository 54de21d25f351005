"""How every verb ends: where its output goes nowhere, where it is interrupted, and whatever the terminal can show."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from sunsim.cli import app
from tests.files.quick import be_quick
from tests.sweep.small import write_sweep
from tests.validation.runs import stream, write_profile, write_run

VERBS = {
    "run": "run small.yaml --out run",
    "run --json": "run small.yaml --out run --json",
    "check": "check small.yaml",
    "sweep": "sweep small.yaml --out sweep --jobs 1 --set sweep.seeds=1",
    "plan": "plan small.yaml --out plan --jobs 1",
    "figures": "figures --only roofline --out figures",
    "split": "split small.yaml --out split",
    "validate": "validate run.parquet --profile profile.json --tolerance none",
    "trace describe": "trace describe trace.csv",
    "trace convert": "trace convert trace.csv --out out.csv",
    "profiles": "profiles",
    "profiles show": "profiles show profile.json --out profile.png",
    "help": "--help",
}
PLAN = "plan: {seeds: 1, size: decode, sensitivity: false, max_decode_gpus: 4}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all verbs need; their results stay, so that sweeps and plans are there the second time."""
    made = tmp_path_factory.mktemp("verbs")
    path = write_sweep(made)
    path.write_text(
        path.read_text().replace("requests: 12", "duration_s: 2").replace("tpot_ms: 25", "tpot_ms: 25, ttft_ms: 900")
        + PLAN
    )
    write_profile(made / "profile.json")
    write_run(made / "run.parquet", stream(20, 15.0))
    (made / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,10\n1,10,10\n")
    return made


def unread() -> IO[str]:
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w", encoding="utf-8")  # noqa: PTH123 - a descriptor, for the test to keep


def full() -> IO[str]:
    return Path("/dev/full").open("w", encoding="utf-8")


@pytest.mark.parametrize(
    ("opened", "code", "said"),
    [(unread, 141, ""), (full, 1, f"standard output: {os.strerror(errno.ENOSPC)}\n")],
    ids=["a pipe that nobody reads", "a full disk"],
)
@pytest.mark.parametrize("verb", VERBS)
def test_output_that_goes_nowhere_is_no_traceback(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    opened: Callable[[], IO[str]],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(folder)
    be_quick(monkeypatch)
    with opened() as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        with pytest.raises(SystemExit) as ended:
            app(VERBS[verb].split())
    assert (ended.value.code, capsys.readouterr().err) == (code, said)


def sunsim(folder: Path, command: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell has of it."""
    text = f"{before} {sys.executable} -c 'from sunsim.cli import app; app()' {command}"
    return subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_closed_streams_are_not_written_into_files(folder: Path) -> None:
    closed = sunsim(folder, "trace convert trace.csv --out closed.csv >&- 2>&- <&-")
    assert closed.returncode == 141
    assert (folder / "closed.csv").read_text().splitlines()[1:] == ["0.0,10,10", "1.0,10,10"]


def test_a_quiet_verb_does_not_mind_a_closed_output(folder: Path) -> None:
    quiet = sunsim(folder, "run small.yaml --set sweep={} --quiet --out quiet >&-")
    assert quiet.returncode == 0


def test_what_the_terminal_cannot_show_is_escaped(folder: Path) -> None:
    odd, ascii_only = "small.yaml --set arms.sun.name=größer", {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}
    shown = sunsim(folder, f"run {odd} --out odd", **ascii_only)
    assert shown.returncode == 0
    assert r"gr\xf6\xdfer" in shown.stdout
    refused = sunsim(folder, f"check {odd} --set größe=1", **ascii_only)
    assert refused.returncode == 2
    assert r"unknown key gr\xf6\xdfe" in refused.stderr


def test_the_notebook_s_way_of_drawing_does_not_matter(folder: Path) -> None:
    drawn = sunsim(folder, "profiles show profile.json --out other.png", MPLBACKEND="nonsense")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert (folder / "other.png").exists()


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted, nothing was written\n"),
        (MemoryError("Unable to allocate 7 TiB"), 1, "out of memory (Unable to allocate 7 TiB)\n"),
        (RecursionError(), 1, "something in the input is nested too deeply to be read\n"),
        (PermissionError(13, "Permission denied", "x"), 1, "x: Permission denied\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
@pytest.mark.parametrize("verb", ["check small.yaml", "trace describe trace.csv", "profiles show profile.json"])
def test_what_may_happen_anywhere_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str, raised: BaseException, code: int, said: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.chdir(folder)
    for place in ("run.check", "trace.describe.describe", "profiles.named_profile"):
        monkeypatch.setattr(f"sunsim.{place}", broken)
    result = CliRunner().invoke(app, verb.split())
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sweep small.yaml --jobs 0", "'--jobs'"),
        ("sweep small.yaml --jobs some", "'--jobs'"),
        ("run small.yaml --seed -1", "'--seed'"),
        ("run small.yaml --colour red", "--colour"),
        ("sweep small.yaml --executor moon", "'--executor'"),
        ("trace describe trace.csv --format tsv", "'--format'"),
        ("trace convert trace.csv", "'--out'"),
        ("run", "'FILE'"),
        ("dance", "'dance'"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(command: str, said: str) -> None:
    result = CliRunner().invoke(app, command.split())
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said.lower() in result.stderr.lower()


def test_the_exit_codes_are_in_the_help() -> None:
    said = " ".join(CliRunner().invoke(app, ["--help"]).stdout.split())
    assert all(f"{code} " in said for code in (0, 1, 2, 3, 130, 141))
