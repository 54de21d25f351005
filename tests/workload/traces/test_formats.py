"""Every format gives the same requests, and names the line that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from sunsim.errors import InputError
from sunsim.trace.cli import Format
from sunsim.workload.blocks import Trace
from sunsim.workload.traces.formats import read_any, read_trace
from sunsim.workload.traces.known import FORMATS
from tests.trace_files import ARRIVAL_S, JSON_LINES, ONE_OBJECT, OUTPUT_TOKENS, PROMPT_TOKENS, TEXTS, places, write

FOREIGN = [name for name in FORMATS if name != "csv"]


def lines(name: str) -> list[str]:
    return TEXTS[name].splitlines(keepends=True)


@pytest.mark.parametrize("name", FOREIGN)
def test_requests_are_read_from_the_first_one_on(tmp_path: Path, name: str) -> None:
    rows = read_trace(write(tmp_path, name), name)
    assert rows.arrival_s.tolist() == ARRIVAL_S
    assert rows.prompt_tokens.tolist() == PROMPT_TOKENS
    assert rows.output_tokens.tolist() == OUTPUT_TOKENS
    assert rows.out_of_order == 0
    assert rows.line.tolist() == places(name)


@pytest.mark.parametrize("name", [name for name in FOREIGN if name not in ONE_OBJECT])
def test_requests_out_of_order_are_sorted_and_counted(tmp_path: Path, name: str) -> None:
    text = lines(name)
    text[-1], text[-4] = text[-4], text[-1]
    rows = read_trace(write(tmp_path, name, "".join(text)), name)
    assert rows.arrival_s.tolist() == ARRIVAL_S
    # The two of 0.25 s keep the order of the file.
    assert rows.prompt_tokens.tolist() == [374, 879, 396, 91, 6758]
    assert rows.out_of_order == 3
    first = 1 if name in JSON_LINES else 2
    assert (rows.line - first).tolist() == [0, 2, 4, 3, 1]


def test_only_formats_with_a_column_of_models_name_them(tmp_path: Path) -> None:
    for name, kind in FORMATS.items():
        rows = read_trace(write(tmp_path, name), name)
        assert (rows.model is None) == (kind.model is None)
    rows = read_trace(write(tmp_path, "burstgpt"), "burstgpt")
    assert rows.model is not None
    assert (rows.names, rows.model.tolist()) == (("ChatGPT", "GPT-4"), [0, 1, 0, 0, 1])


def test_a_burstgpt_trace_may_lack_its_models(tmp_path: Path) -> None:
    text = "Timestamp,Request tokens,Response tokens\n5,10,10\n"
    assert read_trace(write(tmp_path, "burstgpt", text), "burstgpt").model is None


def test_times_of_azure_are_exact_to_their_seventh_digit(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-05-10 00:00:00+00:00,1,1\n2024-05-10 00:00:00.0000001+00:00,1,1\n2024-05-11 02:00:00.5+02:00,1,1\n"
    )
    rows = read_trace(write(tmp_path, "azure", text), "azure")
    assert rows.arrival_s.tolist() == [0.0, 1e-7, 86_400.5]


TOLD = (
    "must be told with --format: one of csv, azure, bailian, burstgpt, lmcache, mooncake, tracelab, vidur, vllm-bench"
)
NONE = f"shows none of the known formats, {TOLD}"

# (the first line, what is said about it)
UNCLEAR = [
    ("Requests", f"{NONE}; the columns are Requests"),
    (
        '{"timestamp": 0, "input_length": 1, "output_length": 1}',
        f"{NONE}; the keys are timestamp, input_length, output_length",
    ),
    (
        "arrived_at,num_prefill_tokens,num_decode_tokens,arrival_s,prompt_tokens,output_tokens",
        f"could be csv or vidur, {TOLD}",
    ),
    (
        "start_time,input_lens,output_lens",
        (
            f"{NONE}; the columns are start_time, input_lens, output_lens; start_time may be arrival_s (seconds), "
            "input_lens may be prompt_tokens, output_lens may be output_tokens: to be renamed"
        ),
    ),
    (
        '{"created": 1700000000, "prompt_tokens": 3, "completion_tokens": 5}',
        (
            f"{NONE}; the keys are created, prompt_tokens, completion_tokens; created may be timestamp (seconds), "
            "prompt_tokens may be input_length, completion_tokens may be output_length: to be renamed"
        ),
    ),
    (
        "arrival_s,prompt_tokens,model",
        (
            "lacks the column output_tokens, must have arrival_s, prompt_tokens, output_tokens as format csv; "
            "the columns are arrival_s, prompt_tokens, model"
        ),
    ),
    (
        "ts,prompt_tokens,model",
        (
            "lacks the columns arrival_s and output_tokens, must have arrival_s, prompt_tokens, output_tokens as format "
            "csv; the columns are ts, prompt_tokens, model; ts may be arrival_s (seconds): to be renamed"
        ),
    ),
    ("arrival_s;prompt_tokens;output_tokens", "is separated by ';', must be by ','"),
    ('"arrival_s"\t"prompt_tokens"', "is separated by '\\t', must be by ','"),
    (
        ",".join(f"c{i}" for i in range(100_000)),
        f"{NONE}; the columns are {', '.join(f'c{i}' for i in range(20))} and 99,980 more",
    ),
]


@pytest.mark.parametrize(("first_line", "said"), UNCLEAR, ids=[first_line[:20] for first_line, _ in UNCLEAR])
def test_a_format_that_is_not_clear_has_to_be_told(tmp_path: Path, first_line: str, said: str) -> None:
    path = write(tmp_path, "csv", first_line + "\n")
    with pytest.raises(InputError) as caught:
        read_any(path, None)
    assert str(caught.value) == f"{path}:1: the first line {said}"


def test_a_scenario_and_the_command_line_know_every_format() -> None:
    assert get_args(Trace.model_fields["format"].annotation) == tuple(FORMATS)
    literal, _ = get_args(get_args(Format)[0])
    assert get_args(literal) == tuple(FORMATS)


# (the format, what a line says, what it says instead, the message)
BROKEN = [
    (
        "azure",
        "2023-11-17 00:00:47.6805900",
        "17.11.2023",
        "5: TIMESTAMP is '17.11.2023', must be a date and time like ",
    ),
    ("azure", ",91,0", ",91", "5: the line has 2 values, must have 3"),
    ("azure", ",91,0", ",91.5,0", "5: ContextTokens is '91.5', must be a whole number of at least 0"),
    ("azure", ",91,0", ",91,-1", "5: GeneratedTokens is '-1', must be a whole number of at least 0"),
    ("azure", "GeneratedTokens", "Generated", "1: column GeneratedTokens is missing, must be there once; the columns "),
    ("burstgpt", "66.5", "later", "5: Timestamp is 'later', must be a number of seconds"),
    ("burstgpt", "66.5", "-1", "5: Timestamp is '-1', must be a number of seconds from 0 to 1,000,000,000,000"),
    ("burstgpt", ",91,0,", ",,0,", "5: Request tokens is '', must be a whole number of at least 0"),
    ("vidur", "61.0", "nan", "5: arrived_at is 'nan', must be a number of seconds from 0 to 1,000,000,000,000"),
    ("vidur", ",91,0", ",91,x", "5: num_decode_tokens is 'x', must be a whole number of at least 0"),
    ("mooncake", '{"timestamp": 88000', '{"timestamp": 88000]', "4: the line is "),
    ("mooncake", "88000", "NaN", "4: timestamp is NaN, must be a number of milliseconds of at least 0"),
    ("mooncake", "88000", '"88000"', '4: timestamp is "88000", must be a number of milliseconds of at least 0'),
    ("mooncake", "91", "91.5", "4: input_length is 91.5, must be a whole number of at least 0"),
    ("mooncake", "91", "true", "4: input_length is true, must be a whole number of at least 0"),
    (
        "mooncake",
        '"input_length": 91, ',
        "",
        "4: input_length is missing, must be there; the keys are timestamp, output_length, hash_ids",
    ),
    ("mooncake", '{"timestamp": 88000', '\n{"timestamp": 88000', "4: the line is empty, must be a JSON object"),
]


@pytest.mark.parametrize(("name", "right", "wrong", "message"), BROKEN, ids=[f"{case[0]}-{case[2]}" for case in BROKEN])
def test_a_broken_line_is_named(tmp_path: Path, name: str, right: str, wrong: str, message: str) -> None:
    assert TEXTS[name].count(right) == 1
    path = write(tmp_path, name, TEXTS[name].replace(right, wrong))
    with pytest.raises(InputError) as caught:
        read_trace(path, name)
    assert str(caught.value).startswith(f"{path}:{message}")


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_trace_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="the trace is empty, must have a line"):
        read_trace(write(tmp_path, name, ""), name)
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\), must be a trace file"):
        read_trace(tmp_path / "none", name)
    with pytest.raises(InputError, match="the trace is empty, must have a line"):
        read_any(write(tmp_path, name, "\n \n"), None)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for read in (lambda: read_trace(binary, name), lambda: read_any(binary, None)):
        with pytest.raises(InputError, match="is not UTF-8 text, must be a trace file"):
            read()


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "vidur")
    assert len(read_trace(path, "vidur")) == 5
    write(tmp_path, "vidur", "".join(lines("vidur")[:-1]))
    assert len(read_trace(path, "vidur")) == 4
