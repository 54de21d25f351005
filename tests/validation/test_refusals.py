"""What cannot be compared is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.validation.runs import (
    columns_of,
    invoke,
    meta,
    outcome,
    profile_document,
    stream,
    write_profile,
    write_run,
    write_table,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the synthetic profile."""
    write_profile(tmp_path / "p.json")
    return tmp_path


def refused(folder: Path, path: Path) -> str:
    """What is said of a run that cannot be used."""
    code, stdout, stderr = invoke(path, "--profile", folder / "p.json")
    assert (code, stdout) == (2, "")
    assert stderr.count("\n") == 1
    return stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"card": "Other GPU"}, "ran on card Other GPU, but profile"),
        ({"model": "qwen3-8b"}, "ran on model qwen3-8b"),
        ({"variant": "awq"}, "ran on variant awq"),
        ({"schema_version": 2}, "not a run of schema version 1: metadata schema_version"),
        ({"engine_args": {"max_num_seqs": 256}}, "metadata engine_args.max_num_batched_tokens"),
        ({"role": "both"}, "metadata role"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    columns = columns_of(outcome(stream(20, 5.0), profile_document(), meta(), folder))
    assert said in refused(folder, write_table(folder / "run.parquet", columns, meta() | changes))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("last_token_s", np.nan, "column last_token_s has no value in row 4"),
        ("client_first_token_s", np.inf, "column client_first_token_s has no value"),
        ("output_tokens", 0, "output_tokens is below 1"),
        ("first_token_s", 0.0, "first_token_s is before"),
        ("submit_s", -1.0, "submit_s is below 0"),
    ],
)
def test_values_that_cannot_be_are_refused(folder: Path, column: str, value: float, said: str) -> None:
    columns = columns_of(outcome(stream(20, 5.0), profile_document(), meta(), folder))
    columns[column] = columns[column].copy()
    columns[column][3] = value
    assert said in refused(folder, write_table(folder / "run.parquet", columns, meta()))


def test_files_that_are_no_runs_are_refused(folder: Path) -> None:
    columns = columns_of(outcome(stream(20, 5.0), profile_document(), meta(), folder))
    assert "does not exist" in refused(folder, folder / "nowhere.parquet")
    (folder / "text.parquet").write_text("arrival_s,prompt_tokens\n")
    assert "is not a Parquet file" in refused(folder, folder / "text.parquet")
    assert "has no metadata" in refused(folder, write_table(folder / "bare.parquet", columns, None))
    empty = {name: values[:0] for name, values in columns.items()}
    assert "has no row" in refused(folder, write_table(folder / "empty.parquet", empty, meta()))
    for name in ("queued_s", "request_id"):
        fewer = {other: values for other, values in columns.items() if other != name}
        said = refused(folder, write_table(folder / "fewer.parquet", fewer, meta()))
        assert f"column {name} is missing, must be there" in said
    text = columns | {"submit_s": [str(value) for value in columns["submit_s"]]}
    text["submit_s"][0] = "soon"
    assert "column submit_s is string" in refused(folder, write_table(folder / "text.parquet", text, meta()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--profile", "nothing"), "there is no profile nothing, --profile must be"),
        ((), "there is no profile test-gpu/llama-3.1-8b-bf16, --profile must be a .json file or one of"),
        (("--tolerance", "tpot=1"), "'tpot=1' must be none or METRIC=PERCENT"),
        (
            ("--profile", "p.json", "--tolerance", "saturated_output_throughput=1"),
            "no run has saturated_output_throughput",
        ),
        (("--tolerance", "mean_tpot_ms=-1"), "must be a percentage of at least 0"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(folder)
    code, stdout, stderr = invoke(write_run(folder / "run.parquet", stream(20, 5.0)), *options)
    assert (code, stdout) == (2, "")
    assert said in stderr
    assert stderr.count("\n") == 1


def test_runs_must_have_names_of_their_own(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(20, 5.0))
    assert invoke(path, path, "--profile", folder / "p.json")[0] == 2
