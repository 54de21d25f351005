"""Traces that are right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sunsim.scenario import build_requests, load_scenario
from sunsim.workload.lengths_table import main, quantile_table
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


def test_a_length_table_is_made_of_quantiles_and_ranks(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    rows = "".join(f"2023-11-16 18:15:46,{index},{2001 - index}\n" for index in range(1, 2001))
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows + "2023-11-16 18:15:46,5,0\n")
    table = quantile_table(path)
    assert (table["requests"], table["requests_left_out"]) == (2000, 1)
    assert table["spearman"] == -1.0
    assert table["longest_request_tokens"] == 2001
    assert table["prompt_tokens"]["mean"] == pytest.approx(1000.5)
    assert (table["prompt_tokens"]["quantiles"][0], table["prompt_tokens"]["quantiles"][-1]) == (1, 2000)
    assert np.array_equal(table["rank_grid"], np.fliplr(100 * np.eye(20)))
    json.dumps(table)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "2023-11-16 18:15:46,5,0\n",
            "azure.csv: no request of 1 has a prompt and an output token, must be at least one",
        ),
        ("soon,5,1\n", "azure.csv:2: TIMESTAMP is 'soon', must be a date and time like 2023-11-16 18:15:46.6805900"),
    ],
)
def test_a_length_table_of_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rows: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("azure.csv")
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    monkeypatch.setattr("sys.argv", ["lengths_table", str(path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert (caught.value.code, capsys.readouterr()) == (2, ("", f"{message}\n"))


def test_a_length_table_of_equal_lengths_has_no_correlation(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "2023-11-16 18:15:46,5,3\n" * 2)
    assert quantile_table(path)["spearman"] is None
