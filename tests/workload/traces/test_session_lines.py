"""Sessions of TraceLab and of LMCache: rounds, the time between them, and what prompts keep."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.errors import InputError
from sunsim.workload.sessions import Sessions
from sunsim.workload.texts import repeated_tokens
from sunsim.workload.traces.formats import read_any, read_trace
from sunsim.workload.traces.rows import Rounds, TraceRows
from sunsim.workload.traces.sessions import sessions_of
from tests.plan.small import invoke


def event(kind: str, at_s: float) -> dict[str, Any]:
    return {"event_type": kind, "timestamp": f"2026-05-01T09:{int(at_s // 60):02}:{at_s % 60:06.3f}Z"}


def lab(session: str, turn: int, prefix: int, new: int, output: int, *events: dict[str, Any]) -> dict[str, Any]:
    return {
        "provider": "claude",
        "session_id": session,
        "round_index": turn,
        "model": "opus",
        "input_tokens_total": prefix + new,
        "prefix_tokens": prefix,
        "newly_append_tokens": new,
        "output_tokens": output,
        "reasoning_output_tokens": None,
        "timing_events": list(events),
        "tools": [],
    }


LAB = [
    lab("claude:a", 0, 60, 40, 20, event("user_message", 10), event("reasoning", 11), event("tool_call", 14)),
    # The result of the tool is there after 3 s; the prompt keeps the prompt before, not its answer.
    lab("claude:a", 1, 100, 50, 10, event("tool_result", 16.5), event("tool_result", 17), event("text", 18)),
    lab("claude:b", 0, 0, 30, 5, event("user_message", 12), event("text", 13.5)),
    # The agent has cut its context short.
    lab("claude:a", 4, 64, 16, 8, event("user_message", 78), event("text", 79), event("user_message", 80)),
]


def lm(session: str, turn: int, prompt: int, output: int, arrival_ns: int, gap_ns: int) -> dict[str, Any]:
    return {
        "input_toks": prompt,
        "output_toks": output,
        "arrival_time_ns": arrival_ns,
        "input_tok_ids": list(range(prompt)),
        "output_tok_ids": [1] * output,
        "session_id": session,
        "turn_idx": turn,
        "intra_session_gap_ns": gap_ns,
    }


LM = [
    lm("s1", 0, 50, 10, 2_000_000_000, 0),
    lm("s1", 1, 80, 10, 2_500_000_000, 500_000_000),
    lm("s2", 0, 20, 5, 0, 0),
    lm("s1", 2, 85, 10, 2_600_000_000, 100_000_000),
]


def write(folder: Path, lines: list[dict[str, Any]]) -> Path:
    path = folder / "trace.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def rounds_of(rows: TraceRows) -> Rounds:
    assert rows.rounds
    return rows.rounds


def sessions(rows: TraceRows) -> Sessions:
    return sessions_of(rows, rounds_of(rows), np.zeros(len(rows), np.int64))


def test_rounds_of_tracelab_follow_after_the_gap_between_them(tmp_path: Path) -> None:
    name, rows = read_any(write(tmp_path, LAB), None)
    assert name == "tracelab"
    assert rows.line.tolist() == [1, 2, 4, 3]
    assert rows.arrival_s.tolist() == [0, 0, 0, 2]
    assert rounds_of(rows).session.tolist() == [0, 0, 0, 1]
    assert rounds_of(rows).think_s[[1, 2]] == pytest.approx([3, 60])
    assert (rows.prompt_tokens.tolist(), rows.output_tokens.tolist()) == ([100, 150, 80, 30], [20, 10, 8, 5])
    assert rows.names == ("opus",)
    # Of a session's first prompt nobody says who else begins so.
    assert repeated_tokens(sessions(rows)).tolist() == [0, 100, 64, 0]


def test_no_more_is_kept_than_the_round_before_had(tmp_path: Path) -> None:
    long = lab("claude:a", 1, 900, 50, 10, event("tool_result", 17), event("text", 18))
    rows = read_trace(write(tmp_path, [LAB[0], long]), "tracelab")
    assert repeated_tokens(sessions(rows)).tolist() == [0, 120]


def test_a_round_asked_for_before_the_last_one_is_over_waits_for_it(tmp_path: Path) -> None:
    early = lab("claude:a", 1, 100, 50, 10, event("tool_result", 13), event("text", 18))
    rows = read_trace(write(tmp_path, [LAB[0], early]), "tracelab")
    assert rounds_of(rows).think_s[1] == 0


def test_tracelab_is_read_as_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "syfi_coding_trace.jsonl.gz"
    path.write_bytes(gzip.compress(write(tmp_path, LAB).read_bytes()))
    assert read_any(path, None)[1].prompt_tokens.tolist() == [100, 150, 80, 30]


def test_prompts_of_lmcache_begin_with_all_that_was_said(tmp_path: Path) -> None:
    name, rows = read_any(write(tmp_path, LM), None)
    assert name == "lmcache"
    assert rows.prompt_tokens.tolist() == [20, 50, 80, 85]
    assert rows.arrival_s.tolist() == [0, 2, 2, 2]
    assert rounds_of(rows).think_s.tolist() == [0, 0, 0.5, 0.1]
    assert rows.model is None
    # The last prompt is shorter than what was said, and holds all but its last token of it.
    assert repeated_tokens(sessions(rows)).tolist() == [0, 0, 60, 84]


@pytest.mark.parametrize("lines", [LAB, LM], ids=["tracelab", "lmcache"])
def test_converted_to_csv_they_have_the_same_in_common(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    path, out = write(tmp_path, lines), tmp_path / "requests.csv"
    assert invoke("trace", "convert", path, "--out", out)[0] == 0
    before, after = read_any(path, None)[1], read_trace(out, "csv")
    for name in ("arrival_s", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    one, two = sessions(before), sessions(after)
    for name in ("session", "round", "previous", "think_ps", "prompt", "answer"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert np.array_equal(one.segments.end, two.segments.end)
    assert np.array_equal(one.segments.parent, two.segments.parent)


def test_a_round_without_a_time_comes_with_the_end_of_the_one_before(tmp_path: Path) -> None:
    lines = [LAB[0], {**LAB[1], "timing_events": []}, LAB[3]]
    rows = read_trace(write(tmp_path, lines), "tracelab")
    assert rounds_of(rows).think_s[1:] == pytest.approx([0, 64])
    path = write(tmp_path, [LAB[0], {**LAB[2], "timing_events": []}])
    with pytest.raises(InputError) as caught:
        read_any(path, None)
    said = "timing_events has no timestamp, must have one in the first round of a session"
    assert str(caught.value) == f"{path}:2: {said}"


def test_tokens_that_are_null_are_none(tmp_path: Path) -> None:
    rows = read_trace(write(tmp_path, [LAB[0], {**LAB[1], "output_tokens": None}, LAB[3]]), "tracelab")
    assert rows.output_tokens.tolist() == [20, 0, 8]


# (a line that is changed, what is changed in it, the message)
WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (LAB[0], {"session_id": 3}, "session_id is 3, must be a name"),
    (LAB[0], {"round_index": -1}, "round_index is -1, must be a whole number of at least 0, below "),
    (LAB[0], {"model": None}, "model is null, must be a name"),
    (LAB[0], {"input_tokens_total": "7"}, 'input_tokens_total is "7", must be a whole number of at least 0'),
    (
        LAB[0],
        {"newly_append_tokens": 41},
        "prefix_tokens and newly_append_tokens are 60 and 41, must add up to input_tokens_total (100)",
    ),
    (LAB[0], {"timing_events": [{"timestamp": 5}]}, "a timestamp is 5, must be a date and time like 2026-05-01T"),
    (LM[0], {"turn_idx": 0.5}, "turn_idx is 0.5, must be a whole number of at least 0, below "),
    (
        LM[0],
        {"arrival_time_ns": -1},
        "arrival_time_ns is -1, must be a number of nanoseconds from 0 to 1,000,000,000,000,000,000,000",
    ),
    (
        LM[0],
        {"intra_session_gap_ns": 1e30},
        "intra_session_gap_ns is 1e+30, must be a number of nanoseconds from 0 to ",
    ),
    (LM[0], {"arrival_time_ns": 10**400}, "arrival_time_ns is 1000000"),
]


@pytest.mark.parametrize(("line", "change", "message"), WRONG, ids=[message[:30] for *_, message in WRONG])
def test_what_is_wrong_is_refused_at_its_line(
    tmp_path: Path, line: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, [line, {**line, **change}])
    with pytest.raises(InputError) as caught:
        read_any(path, None)
    assert str(caught.value).startswith(f"{path}:2: {message}")


def test_messages_whose_tokens_are_not_counted_are_refused(tmp_path: Path) -> None:
    raw = {
        "session_id": "s",
        "model": "m",
        "input": [{"role": "user", "content": "hi"}],
        "output_length": 3,
        "pre_gap": 0.5,
    }
    path = write(tmp_path, [raw])
    with pytest.raises(InputError) as caught:
        read_any(path, None)
    assert str(caught.value) == (
        f"{path}:1: input is text, must be input_toks, its number of tokens, beside output_toks, turn_idx, "
        "arrival_time_ns and intra_session_gap_ns: text is not counted here"
    )
