"""Traces that are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sunsim.scenario import build_requests, load_scenario
from sunsim.workload.traces.formats import read_trace
from tests.scenario_files import write_trace


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("output_tokens,comment,model,arrival_s,prompt_tokens\r\n3,x,b,0.1,7\r\n4,,a,0.1,8")
    rows = read_trace(path, "csv")
    assert rows.arrival_s.tolist() == [0.1, 0.1]
    assert rows.prompt_tokens.tolist() == [7, 8]
    assert rows.output_tokens.tolist() == [3, 4]
    assert rows.model is not None
    assert (rows.names, rows.model.tolist()) == (("b", "a"), [0, 1])


def test_times_are_read_exactly(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).random(1000))
    path = tmp_path / "trace.csv"
    path.write_text(
        "\ufeffarrival_s,prompt_tokens,output_tokens\n" + "".join(f"{time!r},1,1\n" for time in times.tolist())
    )
    assert np.array_equal(read_trace(path, "csv").arrival_s, times)


def test_a_prompt_of_exactly_the_limit_fits(tmp_path: Path) -> None:
    trace = "arrival_s,prompt_tokens,output_tokens\n0,16380,4\n"
    assert len(build_requests(load_scenario(write_trace(tmp_path, trace)))) == 1
