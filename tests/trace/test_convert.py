"""`sunsim trace convert`: the same requests in the project's own format."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.trace.convert import convert
from sunsim.workload.traces.formats import read_trace
from sunsim.workload.traces.known import FORMATS
from sunsim.workload.traces.select import Window
from tests.plan.small import invoke
from tests.trace_files import ARRIVAL_S, OUTPUT_TOKENS, PROMPT_TOKENS, TEXTS, file_name, write

USED = [i for i, tokens in enumerate(OUTPUT_TOKENS) if tokens]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "csv"])
def test_every_format_converts_to_the_same_requests(tmp_path: Path, name: str) -> None:
    out = tmp_path / "made" / "requests.csv"
    code, stdout, stderr = invoke("trace", "convert", write(tmp_path, name), "--out", out)
    assert (code, stderr) == (0, "")
    file = file_name(name)
    assert stdout == f"{out}: 4 requests of {file}, without 1 of its 5 requests: without an output token\n"
    rows = read_trace(out, "csv")
    assert rows.arrival_s.tolist() == [ARRIVAL_S[i] for i in USED]
    assert rows.prompt_tokens.tolist() == [PROMPT_TOKENS[i] for i in USED]
    assert rows.output_tokens.tolist() == [OUTPUT_TOKENS[i] for i in USED]
    named = {"burstgpt": ("ChatGPT", "GPT-4"), "lmcache": ("a", "b"), "tracelab": ("a", "b")}
    assert rows.names == named.get(name, ())


def test_options_cut_and_scale(tmp_path: Path) -> None:
    window = ("--start-s", 0.25, "--duration-s", 90, "--requests", 1, "--rate-scale", 0.5)
    out = tmp_path / "requests.csv"
    assert invoke("trace", "convert", write(tmp_path, "azure"), "--format", "azure", *window, "--out", out)[0] == 0
    assert out.read_text() == "arrival_s,prompt_tokens,output_tokens\n0.0,396,109\n"


def test_stretches_are_laid_end_to_end(tmp_path: Path) -> None:
    header, lines = "arrival_s,prompt_tokens,output_tokens", [f"{second}.0,{1 + second},2" for second in range(10)]
    path, out = tmp_path / "ten.csv", tmp_path / "requests.csv"
    path.write_text("\n".join([header, *lines, ""]))
    parts = ("--stretch", "7:2", "--stretch", "1.5:1")
    code, stdout, _ = invoke("trace", "convert", path, *parts, "--out", out)
    assert (code, stdout.endswith("without 7 of its 10 requests: outside the window\n")) == (0, True)
    assert out.read_text() == f"{header}\n0.0,8,2\n1.0,9,2\n2.5,3,2\n"
    found = json.loads(invoke("trace", "describe", path, *parts, "--rate-scale", 0.5, "--json")[1])
    assert (found["requests"], found["duration_s"]) == (3, 5.0)


def test_a_csv_converts_to_itself_byte_for_byte(tmp_path: Path) -> None:
    out = tmp_path / "again.csv"
    assert invoke("trace", "convert", write(tmp_path, "csv"), "--out", out)[0] == 0
    assert out.read_text() == TEXTS["csv"]


def test_a_csv_of_any_clock_and_order_is_sorted_and_counted_from_its_first_request(tmp_path: Path) -> None:
    first, out = tmp_path / "log.csv", tmp_path / "requests.csv"
    header = "arrival_s,prompt_tokens,output_tokens,model\n"
    first.write_text(f"{header}1764424802.5,2,2,b\n1764424800,1,1,a\n1764424802.5,3,3,b\n")
    assert invoke("trace", "convert", first, "--out", out)[0] == 0
    assert out.read_text() == f"{header}0.0,1,1,a\n2.5,2,2,b\n2.5,3,3,b\n"


@settings(max_examples=40, deadline=None)
@given(
    gaps_s=st.lists(st.floats(0, 1e4), min_size=1, max_size=30),
    tokens=st.lists(st.integers(1, 2**30 - 1), min_size=30, max_size=30),
    names=st.none()
    | st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"])), min_size=30, max_size=30),
)
def test_any_csv_converts_to_itself(gaps_s: list[float], tokens: list[int], names: list[str] | None) -> None:
    size = len(gaps_s)
    columns = {"arrival_s": np.cumsum(gaps_s), "prompt_tokens": tokens[:size], "output_tokens": tokens[-size:]}
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.csv", Path(folder) / "second.csv"
        pd.DataFrame(columns | ({} if names is None else {"model": names[:size]})).to_csv(first, index=False)
        convert(first, None, Window(), second)
        assert second.read_bytes() == first.read_bytes()
        before, after = read_trace(first, "csv"), read_trace(second, "csv")
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "line"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    assert before.names == after.names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.csv", "--out", "x.csv"), "none.csv: cannot be read (No such file or directory), must be a trace file"),
        (("csv.csv", "--out", "csv.csv"), "--out: is the trace itself, must be another file"),
        (
            ("csv.csv", "--out", "csv.csv/x"),
            "csv.csv/x: cannot be written (Not a directory), must be a file for requests",
        ),
        (("csv.csv", "--out", "x.csv", "--rate-scale", "0"), "--rate-scale: is 0, must be greater than 0"),
        (("csv.csv", "--out", "x.csv", "--duration-s", "nan"), "--duration-s: is nan, must be greater than 0"),
        (("csv.csv", "--out", "x.csv", "--start-s", "-1"), "--start-s: is -1, must be at least 0"),
        (
            ("csv.csv", "--out", "x.csv", "--stretch", "0:1", "--start-s", "1"),
            "--stretch: is given, must be left out where --start-s or --duration-s is",
        ),
        *(
            (
                ("csv.csv", "--out", "x.csv", "--stretch", text),
                f"--stretch: is {text}, must be two numbers of seconds such as 3000:600, the first at least 0 and the second above 0",
            )
            for text in ("5", "5:0", "-1:5", "0:nan", "0:5:2")
        ),
        (
            ("csv.csv", "--out", "x.csv", "--stretch", "5:5", "--stretch", "0:6"),
            (
                "--stretch: the stretch from 5 s begins before that from 0 s ends (6 s), must not overlap: no request is "
                "used twice"
            ),
        ),
        (
            ("csv.csv", "--out", "x.csv", "--rate-scale", "1e-6"),
            (
                "csv.csv:6: the request arrives at 90,500,000 s, must arrive by 8,640,000 s: lower duration_s or raise "
                "rate_scale"
            ),
        ),
        (
            ("csv.csv", "--out", "x.csv", "--start-s", "100"),
            "csv.csv: no request is left of 5 (5 outside the window), must be at least one",
        ),
        (
            ("csv.csv", "--out", "x.csv", "--format", "vidur"),
            (
                "csv.csv:1: the first line has arrival_s, prompt_tokens, output_tokens as in format csv, whose times "
                "are seconds, must be read as csv, not as vidur"
            ),
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "csv")
    assert invoke("trace", "convert", *arguments) == (2, "", f"{message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["csv.csv"]
