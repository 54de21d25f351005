"""`sunsim trace describe`: text, JSON, figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plots.trace import plot_trace
from sunsim.workload.traces.known import FORMATS
from sunsim.workload.traces.rows import TraceRows
from tests.plan.small import invoke
from tests.trace_files import write

DROPPED = ", without 1 of its 5 requests: without an output token"


@pytest.mark.parametrize("name", FORMATS)
def test_text_says_what_is_used_and_what_is_not(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    code, stdout, stderr = invoke("trace", "describe", path)
    assert (code, stderr) == (0, "")
    number, dropped = (5, "") if name == "csv" else (4, DROPPED)
    times = number - 1
    of_chats = " of 2 sessions" if name == "bailian" else ""
    assert stdout.splitlines()[0] == (
        f"{path.name} ({name}): {number} requests{of_chats} in 90.5 s at {times} different times{dropped}"
    )
    assert ("model " in stdout) == (FORMATS[name].model is not None)


def test_json_has_the_figures(tmp_path: Path) -> None:
    path = write(tmp_path, "burstgpt")
    found = json.loads(invoke("trace", "describe", path, "--json")[1])
    origin = ("file", "format", "requests_in_file", "outside_window", "dropped", "out_of_order", "requests")
    assert [found[key] for key in origin] == ["burstgpt.csv", "burstgpt", 5, 0, {"without an output token": 1}, 0, 4]
    assert (found["mean_rate_rps"], found["peak_minute_rate_rps"]) == (3 / 90.5, 3 / 60)
    assert found["models"] == {"ChatGPT": 2, "GPT-4": 2}
    assert found["total_tokens"]["max"] == 7258
    faster = json.loads(invoke("trace", "describe", path, "--json", "--rate-scale", 2, "--requests", 3)[1])
    assert (faster["duration_s"], faster["outside_window"], faster["dropped"]) == (0.125, 2, {})


def test_lines_out_of_order_are_said(tmp_path: Path) -> None:
    text = "arrived_at,num_prefill_tokens,num_decode_tokens\n1,1,1\n0,1,1\n"
    stdout = invoke("trace", "describe", write(tmp_path, "vidur", text))[1]
    assert stdout.splitlines()[0] == "vidur.csv (vidur): 2 requests in 1.00 s, 1 line of the file out of order, sorted"


def test_one_request_is_one(tmp_path: Path) -> None:
    text = "arrived_at,num_prefill_tokens,num_decode_tokens\n1,1,1\n"
    stdout = invoke("trace", "describe", write(tmp_path, "vidur", text))[1]
    assert stdout.splitlines()[0] == "vidur.csv (vidur): 1 request in 0.00 s"


def test_many_models_are_cut_short(tmp_path: Path) -> None:
    text = "arrival_s,model,prompt_tokens,output_tokens\n" + "".join(f"{i},m{i},1,1\n" for i in range(25))
    stdout = invoke("trace", "describe", write(tmp_path, "csv", text), "--out", tmp_path)[1]
    assert stdout.count(" 4.0 %") == 20
    assert "5 others 5 20.0 %" in " ".join(stdout.split())


def test_a_figure_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "figures"
    code, stdout, _ = invoke("trace", "describe", write(tmp_path, "mooncake"), "--out", out)
    assert (code, [path.name for path in out.iterdir()]) == (0, ["mooncake.png"])
    assert stdout.endswith(f"\nFigure: {out}/mooncake.png\n")
    code, stdout, stderr = invoke("trace", "describe", write(tmp_path, "csv"), "--out", tmp_path / "csv.csv")
    assert (code, stdout) == (2, "")
    assert stderr == f"{tmp_path}/csv.csv/csv.png: cannot be written (Not a directory), must be a file for a figure\n"


@pytest.mark.parametrize("arrival_s", [[3.0], [3.0, 3.0], [0.0, 5e6]])
def test_equal_traces_give_equal_figures(tmp_path: Path, arrival_s: list[float]) -> None:
    tokens = np.full(len(arrival_s), 7)
    rows = TraceRows(np.array(arrival_s), tokens, tokens, tokens)
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for path in (first, second):
        plot_trace(rows, {"a": 2, "b": 1}, "a trace", path)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_one_line_and_exit_2(tmp_path: Path) -> None:
    path = write(tmp_path, "vidur", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n1,1\n")
    assert invoke("trace", "describe", path) == (2, "", f"{path}:3: the line has 2 values, must have 3\n")
