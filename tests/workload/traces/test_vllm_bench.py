"""Results of `vllm bench serve`: any lists are read whole or refused in one line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.workload.traces.formats import read_any, read_trace
from sunsim.workload.traces.text import MAX_LINE
from sunsim.workload.traces.vllm_bench import KEYS
from tests.trace_files import TEXTS, write

RESULT: dict[str, Any] = json.loads(TEXTS["vllm-bench"])
WITHOUT_DETAILS = {key: value for key, value in RESULT.items() if key not in (*KEYS, "errors")}


def refusal(folder: Path, text: str) -> str:
    """Why it is refused, without the path."""
    path = write(folder, "vllm-bench", text)
    with pytest.raises(InputError) as caught:
        read_trace(path, "vllm-bench")
    return str(caught.value).removeprefix(str(path))


DETAILED = "vllm bench serve --save-result --save-detailed"
# (what is in the file, what is said)
REFUSED = [
    (
        json.dumps(WITHOUT_DETAILS),
        f": start_times is missing, must be there: write the result with {DETAILED}; the keys",
    ),
    ("[1]", f": is no JSON object, must be a result of {DETAILED}"),
    ("{", f": is not JSON, must be one result of {DETAILED}"),
    (TEXTS["vllm-bench"] * 2, f": has more than one result, must be one result of {DETAILED}"),
    (
        json.dumps(RESULT | {"input_lens": [1, 2]}),
        ": the lists have entries of different numbers of requests (start_times 5, input_lens 2, output_lens 5), must",
    ),
    (json.dumps(RESULT | {"start_times": []}), ": start_times is an empty list, must be a list with an entry for each"),
    (json.dumps(RESULT | {"start_times": 3}), ": start_times is 3, must be a list with an entry for each request"),
    (json.dumps(RESULT | {"start_times": [0, "x"]}), ': start_times has "x" for request 2, must be a number from 0 to'),
    (json.dumps(RESULT | {"start_times": [0, float("nan")]}), ": start_times has NaN for request 2, must be a number"),
    (json.dumps(RESULT | {"input_lens": [True]}), ": input_lens has true for request 1, must be a number from 0 to"),
    (json.dumps(RESULT | {"output_lens": [1, 0.5]}), ": output_lens has 0.5 for request 2, must be a whole number"),
    (json.dumps(RESULT | {"output_lens": [10**400]}), ": output_lens has 1000"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=[said[2:40] for _, said in REFUSED])
def test_what_is_no_such_result_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert refusal(tmp_path, text).startswith(said)


def test_a_result_without_details_is_known_as_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--save-detailed"):
        read_any(write(tmp_path, "vllm-bench", json.dumps(WITHOUT_DETAILS)), None)


def test_a_result_may_be_longer_than_a_line_of_a_trace_and_spread_over_lines(tmp_path: Path) -> None:
    long = {**RESULT, "generated_texts": ["w" * MAX_LINE] * 5}
    assert len(read_any(write(tmp_path, "vllm-bench", json.dumps(long)), None)[1]) == 5
    assert len(read_trace(write(tmp_path, "vllm-bench", json.dumps(RESULT, indent=1)), "vllm-bench")) == 5
    with pytest.raises(InputError, match="the first line shows none of the known formats"):
        read_any(write(tmp_path, "vllm-bench", json.dumps(long)[:-2]), None)


@settings(max_examples=100, deadline=None)
@given(
    columns=st.tuples(
        st.lists(st.floats(0, 1e6), max_size=8),
        st.lists(st.integers(0, 2**20), max_size=8),
        st.lists(st.integers(0, 2**20), max_size=8),
    )
)
def test_lists_of_any_lengths_are_read_whole_or_refused(columns: tuple[list[float], list[int], list[int]]) -> None:
    result = RESULT | dict(zip(KEYS, columns, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "vllm-bench", json.dumps(result))
        if len({len(column) for column in columns}) > 1 or not columns[0]:
            with pytest.raises(InputError, match="must"):
                read_trace(path, "vllm-bench")
            return
        rows = read_trace(path, "vllm-bench")
    start_s, prompts, outputs = columns
    order = np.argsort(start_s, kind="stable")
    assert rows.arrival_s == pytest.approx([start_s[i] - min(start_s) for i in order], abs=1e-8)
    assert rows.prompt_tokens.tolist() == [prompts[i] for i in order]
    assert rows.output_tokens.tolist() == [outputs[i] for i in order]
