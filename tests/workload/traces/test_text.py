"""Files of every kind: packed, oddly ended, broken. What can be read is read, anything else is refused at its line."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sunsim.errors import InputError, clipped
from sunsim.run import check
from sunsim.workload.traces import text as text_module
from sunsim.workload.traces.formats import read_any, read_trace
from sunsim.workload.traces.known import FORMATS
from sunsim.workload.traces.text import CHUNK, MAX_LINE
from tests.plan.small import invoke
from tests.scenario_files import TRACE, write_scenario
from tests.trace_files import ARRIVAL_S, ONE_OBJECT, PROMPT_TOKENS, TEXTS, places, write

HEADER = "arrival_s,prompt_tokens,output_tokens"

HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip in two members": lambda data: gzip.compress(data[:70]) + gzip.compress(data[70:]),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "no last line end": lambda data: data[:-1],
    "blank last line": lambda data: data + b"\n",
    "blank last lines": lambda data: data + b"\n \n\t\n\r\n  ",
    "all of these": lambda data: gzip.compress(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n") + b"\r\n\r\n"),
}


def read(folder: Path, data: bytes, name: str | None = "csv") -> Path:
    """Reads bytes as a trace."""
    path = folder / "trace"
    path.write_bytes(data)
    read_any(path, name)
    return path


def refusal(folder: Path, data: bytes, name: str | None = "csv") -> str:
    """Why they are refused, without the path."""
    with pytest.raises(InputError) as caught:
        read(folder, data, name)
    return str(caught.value).removeprefix(f"{folder}/trace")


@pytest.mark.parametrize("how", HARMLESS)
@pytest.mark.parametrize("name", FORMATS)
def test_how_a_file_is_packed_and_ended_does_not_matter(tmp_path: Path, name: str, how: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(HARMLESS[how](TEXTS[name].encode()))
    found, rows = read_any(path, None)
    assert (found, rows.arrival_s.tolist(), rows.prompt_tokens.tolist()) == (name, ARRIVAL_S, PROMPT_TOKENS)
    assert rows.line.tolist() == places(name)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ONE_OBJECT])
def test_a_blank_line_before_the_last_request_is_refused(tmp_path: Path, name: str) -> None:
    before, last = TEXTS[name][:-1].rsplit("\n", 1)
    line = before.count("\n") + 2
    assert refusal(tmp_path, f"{before}\n\n{last}\n".encode(), name).startswith(f":{line}: the line ")


def test_a_packed_trace_is_read_by_every_verb(tmp_path: Path) -> None:
    packed = tmp_path / "trace.csv"
    packed.write_bytes(gzip.compress(TEXTS["csv"].encode()))
    said = check(write_scenario(tmp_path, TRACE), [], None)
    assert said.startswith("ok: replay: 5 requests in 90.5 s")
    code, stdout, _ = invoke("trace", "describe", packed)
    assert (code, stdout.splitlines()[0]) == (0, "trace.csv (csv): 5 requests in 90.5 s at 4 different times")
    out = tmp_path / "out.csv"
    assert invoke("trace", "convert", packed, "--out", out)[0] == 0
    assert out.read_text() == TEXTS["csv"]


ROWS = "".join(f"{i},5,5\n" for i in range(100))
WRONG = [
    ("cut gzip", gzip.compress(ROWS.encode())[:-10], ": is damaged (Compressed file ended before the end-of-stream"),
    ("gzip with rubbish", gzip.compress(ROWS.encode()) + b"x", ": is damaged (Not a gzipped file (b'x')), must be a"),
    ("zip", b"PK\x03\x04" + bytes(30), ": is a zip archive, must be text, or text packed with gzip"),
    ("Parquet", b"PAR1" + bytes(30), ": is Parquet, must be text, or text packed with gzip"),
    ("UTF-16", f"{HEADER}\n0,5,5\n".encode("utf-16"), ":1: is not UTF-8 text, must be a trace file"),
    ("UTF-16, no mark", f"{HEADER}\n0,5,5\n".encode("utf-16-le"), ":1: the line has a NUL byte, must be text"),
    ("Latin-1", f"{HEADER},x\n0,5,5,é\n1,5,5,é\n".encode("latin-1"), ":2: is not UTF-8 text, must be a trace file"),
    ("NUL", f"{HEADER}\n0,5,5\r\n1,5\0,5\n".encode(), ":3: the line has a NUL byte, must be text"),
    (
        "first line blank",
        f"\n{HEADER}\n0,5,5\n".encode(),
        ":1: column arrival_s is missing, must be there once; the col",
    ),
    ("only a header", f"{HEADER}\n\n".encode(), ": the trace has no request, must have at least one line after the "),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    assert refusal(tmp_path, data).startswith(message)


def test_a_line_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with path.open("wb") as file:
        file.write(f"{HEADER}\n0,5,5\n".encode())
        file.write(b"1" * MAX_LINE)
        # A gigabyte that takes no space.
        file.truncate(2**30)
    began = time.process_time()
    with pytest.raises(InputError, match=r"trace:3: the line is longer than 1,048,576 bytes, must be one request"):
        read_any(path, None)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_line_may_be_as_long_as_the_limit(tmp_path: Path, end: str) -> None:
    whole = MAX_LINE - len("0,5,5,")
    lines = [f"{HEADER},note", "0,5,5,a", f"0,5,5,{'a' * whole}", f"0,5,5,{'a' * whole}", "0,5,5,a"]
    read(tmp_path, end.join(lines).encode())
    # The fault is in the last line, so that the slow way has read the long ones.
    assert refusal(tmp_path, end.join([*lines, "0,5,x,a"]).encode()).startswith(":6: output_tokens is 'x'")
    lines[3] += "a" * CHUNK
    assert refusal(tmp_path, end.join(lines).encode()).startswith(":4: the line is longer than ")


def test_what_a_packed_file_holds_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "MAX_TEXT", 2**20)
    data = f"{HEADER}\n".encode() + b"0,5,5\n" * 200_000
    assert refusal(tmp_path, gzip.compress(data)) == ": holds more than 0 GiB of text, must be less"


STRAY = "a quote opens in the line and is not closed in it, must be closed: no value goes on in the next line"


@pytest.mark.parametrize(
    ("line", "closed"), [(1, False), (2, False), (7, False), (200_001, False), (1, True), (2, True), (83_497, True)]
)
def test_a_stray_quote_is_named_where_it_opens(tmp_path: Path, line: int, closed: bool) -> None:
    lines = ["Timestamp,Model,Request tokens,Response tokens", *(f"{i},ChatGPT,100,20" for i in range(200_000))]
    lines[line - 1] = lines[line - 1].replace(",", ',"', 1)
    if closed:
        # The next one closes it, far behind, so that what is between becomes one value.
        lines[line + 116_503] = lines[line + 116_503].replace(",100", '",100')
    data = "\n".join(lines).encode()
    assert refusal(tmp_path, data, "burstgpt") == f":{line}: {STRAY}"
    assert refusal(tmp_path, data, None) == f":{line}: {STRAY}"


def test_quotes_that_are_closed_in_their_line_are_read(tmp_path: Path) -> None:
    text = f'{HEADER},model,"a ""note"", quoted"\n"0",5,5,"a, b",""\n1,"6",5,"c ""d""",x\n'
    rows = read_trace(write(tmp_path, "csv", text), "csv")
    assert rows.names == ("a, b", 'c "d"')
    assert rows.prompt_tokens.tolist() == [5, 6]


NUMBERS = {
    "0": 0,
    "7": 7,
    " 7 ": 7,
    "007": 7,
    "7.0": 7,
    "7e0": 7,
    "1e3": 1000,
    str(2**30 - 1): 2**30 - 1,
    **dict.fromkeys(
        ["-1", "7.5", "", "NA", "nan", "inf", "-inf", "1e308", "1e400", "0x1F", "1_0", "x", "٣", "True", "7 7"]
    ),
    **dict.fromkeys([str(2**30), str(2**31), str(2**63), str(2**64), "9" * 50, "9" * 5000]),
}


@pytest.mark.parametrize("text", NUMBERS, ids=[text[:12] or "empty" for text in NUMBERS])
@pytest.mark.parametrize("neighbour", ["8", "x"])
def test_tokens_are_whole_numbers_of_bounded_size(tmp_path: Path, text: str, neighbour: str) -> None:
    # With a neighbour that is no number the slow way is taken.
    lines = f"arrived_at,num_prefill_tokens,num_decode_tokens\n0,8,8\n1,{text},8\n2,8,{neighbour}\n"
    path = write(tmp_path, "vidur", lines)
    expected = NUMBERS[text]
    if expected is not None and neighbour == "8":
        assert read_trace(path, "vidur").prompt_tokens.tolist() == [8, expected, 8]
        return
    with pytest.raises(InputError) as caught:
        read_trace(path, "vidur")
    wrong = f":3: num_prefill_tokens is '{clipped(text)}'" if expected is None else ":4: num_decode_tokens is 'x'"
    assert str(caught.value) == f"{path}{wrong}, must be a whole number of at least 0, below 1,073,741,824"


@pytest.mark.parametrize("seconds", ["1e13", "-0.001", "inf", "1e308", "", "2023-11-16T18:15:46Z", "1:30"])
def test_seconds_are_numbers_of_bounded_size(tmp_path: Path, seconds: str) -> None:
    text = f"arrived_at,num_prefill_tokens,num_decode_tokens\n0,8,8\n{seconds},8,8\n"
    said = refusal(tmp_path, text.encode(), "vidur")
    assert said == f":3: arrived_at is '{seconds}', must be a number of seconds from 0 to 1,000,000,000,000"


@pytest.mark.parametrize("date", ["2023", "20231116", "1700158546", "2023-11-16", "18:15:46", "", "x"])
def test_a_number_is_no_date(tmp_path: Path, date: str) -> None:
    text = f"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,8,8\n{date},8,8\n"
    said = refusal(tmp_path, text.encode(), "azure")
    assert said == f":3: TIMESTAMP is '{date}', must be a date and time like 2023-11-16 18:15:46.6805900"


JSON = [
    ("[" * 100_000, "the line is [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[..., must be a JSON object"),
    ('{"a":' * 100_000, 'the line is {"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":..., must be a JSON object'),
    ('{"timestamp": [[1]], "input_length": 1, "output_length": 1}', "timestamp is a list, must be a number of milli"),
    ('{"timestamp": 1e308, "input_length": 1, "output_length": 1}', "timestamp is 1e+308, must be a number of milli"),
    ('{"timestamp": 1, "input_length": 1e308, "output_length": 1}', "input_length is 1e+308, must be a whole number"),
    ('{"timestamp": 1, "input_length": 1, "output_length": 1e999}', "output_length is Infinity, must be a whole"),
    ('{"timestamp": 1, "input_length": 1, "output_length": {"a": 1}}', "output_length is an object, must be a whole"),
    (f'{{"timestamp": 1, "input_length": 1{"0" * 400}, "output_length": 1}}', "input_length is 1000000000000000000000"),
    (f'{{"timestamp": 1, "input_length": 1{"0" * 5000}, "output_length": 1}}', "the line is {"),
    (f'{{"timestamp": -1{"0" * 400}, "input_length": 1, "output_length": 1}}', "timestamp is -10000000000000000000000"),
    ('{"timestamp": "2023-11-16", "input_length": 1, "output_length": 1}', 'timestamp is "2023-11-16", must be a num'),
    ('{"timestamp": 1, "input_length": null, "output_length": 1}', "input_length is null, must be a whole number of "),
    (
        '{"\\ud800\\u001b[31m": 1, "created": "x", "prompt_tokens": 1, "completion_tokens": 2}',
        (
            "timestamp is missing, must be there; the keys are \\ud800\\x1b[31m, created, prompt_tokens, "
            "completion_tokens; created may be timestamp (milliseconds), prompt_tokens may be input_length, "
            "completion_tokens may be output_length: to be renamed"
        ),
    ),
]


@pytest.mark.parametrize(("line", "message"), JSON, ids=[line[:40] for line, _ in JSON])
def test_a_hostile_line_of_json_is_refused(tmp_path: Path, line: str, message: str) -> None:
    said = refusal(tmp_path, f"{TEXTS['mooncake']}{line}\n".encode(), "mooncake")
    assert said.startswith(f":6: {message}")
    assert len(said) < 300


def test_timestamps_of_bailian_are_seconds_and_are_not_read_as_milliseconds(tmp_path: Path) -> None:
    path = write(tmp_path, "bailian")
    rows = read_any(path, None)[1]
    assert rows.arrival_s.tolist() == ARRIVAL_S
    with pytest.raises(InputError) as caught:
        read_trace(path, "mooncake")
    assert str(caught.value) == (
        f"{path}:1: the first line has chat_id as in format bailian, whose times are seconds, must be read as bailian, "
        "not as mooncake"
    )
    mixed = TEXTS["mooncake"] + TEXTS["bailian"]
    assert refusal(tmp_path, mixed.encode(), "mooncake") == (
        ":6: chat_id is there, must not be where timestamps are milliseconds: such a file is of format bailian, whose "
        "timestamps are seconds"
    )
    mixed = TEXTS["bailian"] + TEXTS["mooncake"]
    assert refusal(tmp_path, mixed.encode(), "bailian").startswith(":6: chat_id is missing, must be there; the keys ")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("other", FORMATS)
def test_a_file_is_not_read_in_another_format(tmp_path: Path, name: str, other: str) -> None:
    path = write(tmp_path, name)
    if name == other:
        assert len(read_trace(path, other)) == 5
        return
    with pytest.raises(InputError) as caught:
        read_trace(path, other)
    assert str(caught.value).startswith(f"{path}:1: the first line has ")
    assert str(caught.value).endswith(f", must be read as {name}, not as {other}")


def test_a_fault_in_the_last_of_many_lines_is_found_soon(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:15:46.{i:06},8,8\n" for i in range(100_000))
    text = f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}soon,8,8\n2023-11-16 18:15:46,x,8\n"
    began = time.process_time()
    assert refusal(tmp_path, text.encode(), "azure").startswith(":100002: TIMESTAMP is 'soon', must be a date and time")
    assert time.process_time() - began < 3


def test_lines_that_the_slow_way_reads_are_those_of_the_fast_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    lines = [f"{time!r},{i},{'ab'[i % 2]}" for i, time in enumerate(np.cumsum(rng.random(500)).tolist(), 1)]
    text = "arrival_s,prompt_tokens,model,output_tokens\n" + "".join(f"{line},7\n" for line in lines)
    fast = read_trace(write(tmp_path, "csv", text), "csv")
    # Python reads a vertical tab as a blank, the fast way does not.
    slow = read_trace(write(tmp_path, "csv", text + "1e3,1\x0b,b,1\n"), "csv")
    assert len(slow) == len(fast) + 1
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "line", "model"):
        assert np.array_equal(getattr(slow, name)[:-1], getattr(fast, name))
    assert slow.names == fast.names
