"""The verb: errors that are there are found, those that aren't are not, and what cannot be compared is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.validation.worker_run import read_run
from tests.validation.runs import (
    columns_of,
    invoke,
    meta,
    outcome,
    profile_document,
    slower,
    stream,
    write_profile,
    write_run,
    write_table,
)


def checked(folder: Path, *runs: Path, code: int = 0) -> dict[str, Any]:
    """The JSON that the verb prints of runs on the synthetic profile."""
    found, stdout, stderr = invoke(*runs, "--profile", folder / "p.json", "--json")
    assert (found, stderr) == (code, "")
    content: dict[str, Any] = json.loads(stdout)
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the synthetic profile, measured in the engine start of the runs."""
    write_profile(tmp_path / "p.json", profile_document(engine_start="start-1"))
    return tmp_path


@pytest.mark.parametrize("role", ["decode", "prefill", "colocated"])
def test_the_simulation_itself_is_not_off_at_all(folder: Path, role: str) -> None:
    content = checked(folder, write_run(folder / "run.parquet", stream(300, 10.0), role=role))
    (run,) = content["runs"]
    assert content["holds"]
    assert content["verdict"].startswith("Holds: ")
    for figure in run["figures"].values():
        assert figure["error_percent"] == pytest.approx(0, abs=1e-6)
        assert figure["low_percent"] is None or figure["low_percent"] == pytest.approx(0, abs=1e-6)
    targets = {tag for tag, figure in run["figures"].items() if figure["holds"]}
    tpot, ttft = {"mean_tpot_ms", "median_tpot_ms", "p99_tpot_ms"}, {"mean_ttft_ms", "p99_ttft_ms"}
    assert targets == {"decode": tpot, "prefill": ttft, "colocated": tpot | ttft}[role]


def test_slower_steps_are_found_as_such(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(400, 10.0), profile_document(factor=1.02))
    content = checked(folder, path, code=3)
    figures = content["runs"][0]["figures"]
    for tag in ("mean_tpot_ms", "median_tpot_ms"):
        # 2 % longer steps make requests stay longer, so batches grow as well.
        assert -2.6 < figures[tag]["error_percent"] < -1.9
        assert figures[tag]["low_percent"] <= figures[tag]["error_percent"] <= figures[tag]["high_percent"]
        assert figures[tag]["holds"] is False
    assert content["verdict"].startswith("Misses: ")


def test_an_overloaded_run_has_saturated_figures(folder: Path) -> None:
    args = meta()["engine_args"] | {"max_num_seqs": 8}
    path = write_run(folder / "run.parquet", stream(300, 30.0), profile_document(factor=1.02), engine_args=args)
    figures = checked(folder, path, code=3)["runs"][0]["figures"]
    assert 1.8 < figures["saturated_output_throughput"]["error_percent"] < 2.2
    assert -7 < figures["saturated_mean_queueing_ms"]["error_percent"] < -4
    assert figures["saturated_mean_queueing_ms"]["holds"]


def test_a_light_run_has_none(folder: Path) -> None:
    content = checked(folder, write_run(folder / "run.parquet", stream(300, 10.0)))
    assert content["runs"][0]["saturated"] is None
    assert "saturated_output_throughput" not in content["runs"][0]["figures"]


def test_the_interval_is_wider_for_runs_that_scatter(folder: Path) -> None:
    facts = meta()
    served = outcome(stream(400, 10.0), profile_document(), facts, folder)
    factors = np.random.default_rng(1).normal(1.0, 0.1, len(served))
    path = write_table(folder / "run.parquet", columns_of(slower(served, factors)), facts)
    figure = checked(folder, path, code=3)["runs"][0]["figures"]["mean_tpot_ms"]
    assert figure["low_percent"] < figure["error_percent"] < figure["high_percent"]
    assert 0.5 < figure["high_percent"] - figure["low_percent"] < 5


def test_one_host_is_held_to_more_than_another(folder: Path) -> None:
    write_profile(folder / "p.json", profile_document(host={"cpu": "one", "cores": 16}, engine_start="start-1"))
    requests, slow = stream(300, 10.0), profile_document(factor=1.02)
    runs = {
        "same engine start": write_run(folder / "a.parquet", requests, slow),
        "same host": write_run(folder / "b.parquet", requests, slow, engine_start="start-2"),
        "other host": write_run(folder / "c.parquet", requests, slow, engine_start="start-3", host={"cpu": "two"}),
    }
    content = checked(folder, *runs.values(), code=3)
    assert [run["profile"]["from"] for run in content["runs"]] == list(runs)
    assert [run["holds"] for run in content["runs"]] == [False, False, True]
    tolerances = [run["figures"]["mean_tpot_ms"]["tolerance_percent"] for run in content["runs"]]
    assert tolerances == [1, 1, 3]
    assert "targets hold over 3 runs" in content["verdict"]


def test_a_profile_that_the_run_names_is_of_its_start(folder: Path) -> None:
    sha256 = write_profile(folder / "p.json").sha256
    path = write_run(folder / "run.parquet", stream(50, 5.0), profile={"file": "p.json", "sha256": sha256})
    assert checked(folder, path)["runs"][0]["profile"]["from"] == "same engine start"
    # Facts that were added to the profile since do not make it another.
    write_profile(folder / "p.json", profile_document(processors=132, measured_sha256=sha256))
    assert checked(folder, path)["runs"][0]["profile"]["from"] == "same engine start"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 3),
        (("--tolerance", "none"), 0),
        (("--tolerance", "none", "--tolerance", "mean_e2el_ms=1"), 3),
        (("--tolerance", "none", "--tolerance", "mean_e2el_ms=5"), 0),
        (("--tolerance", "mean_tpot_ms=9"), 3),
    ],
)
def test_exit_code_3_means_that_a_tolerance_is_broken(folder: Path, options: tuple[str, ...], code: int) -> None:
    path = write_run(folder / "run.parquet", stream(200, 10.0), profile_document(factor=1.02))
    assert invoke(path, "--profile", folder / "p.json", *options)[0] == code


def test_runs_of_one_stream_are_the_noise_floor(folder: Path) -> None:
    requests = stream(200, 10.0)
    facts = meta()
    served = outcome(requests, profile_document(), facts, folder)
    first = write_table(folder / "first.parquet", columns_of(served), facts)
    other = {**facts, "engine_start": "start-2"}
    second = write_table(folder / "second.parquet", columns_of(slower(served, 1.01)), other)
    unrelated = write_run(folder / "unrelated.parquet", stream(100, 10.0), stream="another")
    (pair,) = checked(folder, first, second, unrelated)["noise_floor"]
    assert (pair["first"], pair["second"], pair["relation"]) == ("first", "second", "same host")
    assert pair["requests"] == 200
    assert pair["change_percent"]["mean_tpot_ms"] == pytest.approx(1.0)


def test_steps_say_where_errors_come_from(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(100, 10.0))
    batch, context = np.array([1, 8, 100, 100, 1, 1]), np.array([1000, 8000, 100_000, 100_000, 500, 500])
    step_s = (7 + 0.02 * batch + 4e-5 * context) * 1.01 / 1000
    step_s[3] *= 2
    columns = {
        "end_s": np.cumsum(step_s),
        "step_s": step_s,
        "requests": batch,
        "context_tokens": context,
        "chunk_tokens": np.array([0, 0, 0, 0, 0, 512]),  # the step before it is not the decodes' own
    }
    write_table(folder / "run.steps.parquet", columns, None)
    bands = {band["batches"]: band for band in checked(folder, path, folder / "run.steps.parquet")["runs"][0]["steps"]}
    assert list(bands) == ["1", "2-16", "65-128", "all decode"]
    assert bands["2-16"]["median_error_percent"] == pytest.approx(-0.99, abs=0.01)
    assert bands["65-128"]["settled_error_percent"] == pytest.approx(-0.99, abs=0.01)
    assert bands["65-128"]["stalls"] == 1
    assert bands["65-128"]["stall_time_percent"] == pytest.approx(200 / 3)
    assert bands["all decode"]["steps"] == 4


def test_steps_with_chunks_are_checked_where_their_pairs_are_known(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(50, 5.0), role="prefill")
    pairs = 2 * 512 * 513 // 2
    columns = {
        "end_s": [0.1],
        "step_s": [(8 + 0.02 * 1024 + 8e-7 * pairs) / 1000],
        "requests": [2],
        "decode_requests": [0],
        "context_tokens": [0],
        "chunk_tokens": [1024],
        "chunk_attended_pairs": [pairs],
    }
    write_table(folder / "run.steps.parquet", columns, None)
    (band,) = checked(folder, path)["runs"][0]["steps"]
    assert band["batches"] == "with a chunk"
    assert band["error_percent"] == pytest.approx(0, abs=0.2)


def test_a_step_with_a_chunk_is_judged_with_the_step_whose_output_its_launch_holds_up(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(50, 5.0), role="colocated")
    pairs = 1024 * 1025 // 2
    decode_ms, chunk_ms = 7 + 0.02 * 8 + 4e-5 * 8000, 8 + 0.02 * 1032 + 8e-7 * pairs + 4e-5 * 8000
    columns = {
        "end_s": [0.01, 0.03, 0.06],
        "step_s": [decode_ms / 1000, (decode_ms + 9) / 1000, (chunk_ms - 9) / 1000],
        "requests": [8, 8, 9],
        "decode_requests": [8, 8, 8],
        "context_tokens": [8000, 8000, 8000],
        "chunk_tokens": [0, 0, 1024],
        "chunk_attended_pairs": [0, 0, pairs],
    }
    write_table(folder / "run.steps.parquet", columns, None)
    bands = {band["batches"]: band for band in checked(folder, path)["runs"][0]["steps"]}
    assert (bands["all decode"]["steps"], bands["with a chunk"]["steps"]) == (1, 1)
    assert bands["all decode"]["error_percent"] == pytest.approx(0, abs=0.2)
    assert bands["with a chunk"]["error_percent"] == pytest.approx(0, abs=1)


class Page(HTMLParser):
    """Elements that are open, ids, and what a page would load."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.ids += [identifier] if (identifier := values.get("id")) else []
        self.loads += [values[key] or "" for key in ("src", "href", "xlink:href") if key in values]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_out_holds_a_page_that_needs_nothing_else(folder: Path) -> None:
    requests = stream(100, 10.0)
    runs = [
        write_run(folder / "a&b.parquet", requests, stream="<script>"),
        write_run(folder / "front.parquet", requests, role="prefill"),
    ]
    out = folder / "out"
    code, stdout, stderr = invoke(*runs, "--profile", folder / "p.json", "--out", out)
    assert (code, stderr) == (0, "")
    names = [f"{name}-{kind}.png" for name in ("a&b", "front") for kind in ("ecdf", "scatter", "time")]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*names, "manifest.json", "validation.html", "validation.json"]
    )
    assert "Files: " in stdout
    text = (out / "validation.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert all(load.startswith(("#", "data:")) for load in page.loads)
    assert text.count("<svg") == 6
    assert "<script>" not in text
    assert "a&amp;b" in text
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    invoke(*runs, "--profile", folder / "p.json", "--out", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_terminal_shows_figures_of_one_run_and_a_row_for_each_of_several(folder: Path) -> None:
    requests = stream(100, 10.0)
    one, two = write_run(folder / "one.parquet", requests), write_run(folder / "two.parquet", requests)
    _, stdout, _ = invoke(one, "--profile", folder / "p.json")
    assert re.search(r"TPOT mean \(ms\) .* \+0\.00 % .* holds", stdout)
    assert stdout.splitlines()[-1].startswith("Holds: 3 of 3 targets hold; TPOT mean is off by +0.00 %.")
    _, stdout, _ = invoke(one, two, "--profile", folder / "p.json")
    assert re.search(r"^one +decode +same start +\+0\.00", stdout, re.MULTILINE)
    assert "Noise floor" in stdout


def test_one_request_is_enough(folder: Path) -> None:
    run = checked(folder, write_run(folder / "run.parquet", stream(1, 5.0)), code=0)["runs"][0]
    assert "mean_batch" not in run["figures"]
    assert run["figures"]["mean_ttft_ms"]["error_percent"] == pytest.approx(0)


def test_rows_may_come_in_any_order(folder: Path) -> None:
    columns = columns_of(outcome(stream(50, 5.0), profile_document(), meta(), folder))
    order = np.random.default_rng(0).permutation(50)
    mixed = {name: values[order] for name, values in columns.items()}
    run = read_run(write_table(folder / "run.parquet", mixed, meta()))
    assert run.request_ids == [str(i) for i in range(50)]
    assert (np.diff(run.served.submit_s) >= 0).all()


def test_tables_alone_draw_nothing() -> None:
    code = "import sys, sunsim.validation.validate; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
