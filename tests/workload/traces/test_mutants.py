"""Traces with something changed anywhere: each is read whole, or refused in one line that names the file."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.workload.traces.formats import read_any
from sunsim.workload.traces.known import FORMATS
from sunsim.workload.traces.rows import MAX_TOKENS, TraceRows
from tests.trace_files import JSON_LINES, ONE_OBJECT, SESSIONS, TEXTS

PIECES = [
    *(
        b"",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b" ",
        b"\t",
        b",",
        b";",
        b'"',
        b'""',
        b"'",
        b"\\",
        b"\0",
        b"\x1a",
        b"\x1b[31m",
    ),
    *(b"\xff", b"\xe9", b"\xc3\xa9", b"\xef\xbb\xbf", "٣".encode(), b"-", b"+", b".", b"e", b"e9", b"e308", b"0", b"1"),
    *(
        b"00",
        b"9" * 25,
        b"9" * 400,
        b"nan",
        b"NaN",
        b"inf",
        b"null",
        b"NA",
        b"true",
        b"{",
        b"}",
        b"[",
        b"]",
        b"[" * 3000,
    ),
    *(b":", b"2023", b"Z", b"+02:00", b"T", b"chat_id", b'"chat_id": 1, ', b"hash_ids", b"timestamp", b"a" * 200_000),
]

Change = tuple[float, int, bytes]
"""Where of the text, how many bytes go, and what comes instead."""
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(PIECES)), min_size=1, max_size=4)


def mutant(name: str, changes: list[Change]) -> bytes:
    """A format's five requests, changed."""
    data = (SESSIONS if name == "sessions" else TEXTS[name]).encode()
    for share, gone, piece in changes:
        place = round(share * len(data))
        data = data[:place] + piece + data[place + gone :]
    return data


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from([*FORMATS, "sessions"]),
    changes=CHANGES,
    packed=st.booleans(),
    told=st.none() | st.sampled_from([*FORMATS]),
)
@example(name="csv", changes=[(0.6587, 1, b"\t")], packed=True, told="csv")
def test_a_mutant_is_read_whole_or_refused(name: str, changes: list[Change], packed: bool, told: str | None) -> None:
    data = mutant(name, changes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        path.write_bytes(gzip.compress(data) if packed else data)
        try:
            found, rows = read_any(path, told)
        except InputError as error:
            said = str(error)
            assert said.startswith(f"{path}:")
            assert "must" in said
            assert said.isprintable()
            assert len(said) < 1200
            return
    _whole(data, found, rows)


def _whole(data: bytes, name: str, rows: TraceRows) -> None:
    """Every line that is not blank is a request, with the tokens that stand in it, or an object has lists of them."""
    if name in ONE_OBJECT:
        written = json.loads(data.decode("utf-8-sig"))
        assert (rows.arrival_s[1:] >= rows.arrival_s[:-1]).all()
        order = np.argsort(written["start_times"], kind="stable")
        assert rows.prompt_tokens.tolist() == [written["input_lens"][i] for i in order]
        assert rows.output_tokens.tolist() == [written["output_lens"][i] for i in order]
        return
    lines = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")
    first = 1 if name in JSON_LINES else 2
    assert sorted(rows.line.tolist()) == list(range(first, len(lines) + 1))
    assert (rows.arrival_s[1:] >= rows.arrival_s[:-1]).all()
    _, prompt, output = FORMATS[name].needed
    header = next(csv.reader([lines[0]]))
    for line, *tokens in zip(rows.line, rows.prompt_tokens, rows.output_tokens, strict=True):
        written = lines[line - 1]
        values = json.loads(written) if first == 1 else dict(zip(header, next(csv.reader([written])), strict=True))
        assert tokens == [float(values[prompt]), float(values[output])]
        assert all(0 <= number < MAX_TOKENS for number in tokens)
