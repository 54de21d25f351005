"""Tables of lengths, made from traces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.lengths_table import main, quantile_table
from tests.trace_files import TEXTS


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


def test_a_packed_trace_is_read(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv.gz"
    path.write_bytes(gzip.compress(TEXTS["azure"].encode()))
    assert quantile_table(path)["requests"] == 4
