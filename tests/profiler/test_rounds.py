"""Rounds of conversations without an engine: what is read and refused, what prompts say, and when each is sent."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from profiler import run_file
from profiler.cli import app
from profiler.client import serve
from profiler.recording import RequestStamps
from profiler.rounds import new_texts, read_rounds
from profiler.streams import Stream, read_stream

HEADER = "session,round,arrival_s,think_s,prefix,prefix_tokens,prompt_tokens,output_tokens"
TWO_SESSIONS = ("a,0,0,0,p,20,30,5", "a,1,,0.2,p,20,50,4", "b,0,0.1,0,p,20,21,3", "a,2,,0,p,20,60,2")


def written(tmp_path: Path, *lines: str, header: str = HEADER) -> Path:
    path = tmp_path / "s.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def read(tmp_path: Path, *lines: str, header: str = HEADER) -> Stream:
    return read_stream(written(tmp_path, *lines, header=header), "colocated", limit_tokens=16384)


def test_a_round_follows_the_one_before_it_in_its_session(tmp_path: Path) -> None:
    stream = read(tmp_path, *TWO_SESSIONS)
    rounds = stream.rounds

    assert rounds is not None
    assert read_rounds(tmp_path / "s.csv")[1] == [2, 3, 5, 4]
    assert [rounds.previous(i) for i in range(4)] == [None, 0, 1, None]
    assert [rounds.next(i) for i in range(4)] == [1, 2, None, None]
    assert stream.prompt_tokens == [30, 50, 60, 21]
    assert stream.arrival_s == [0, None, None, 0.1]
    assert stream.carried == {"request_id": [0, 1, 2, 3]}
    assert rounds.columns() == {
        "session": [0, 0, 0, 1],
        "round": [0, 1, 2, 0],
        "think_s": [0, 0.2, 0, 0],
        "history_tokens": [0, 35, 54, 0],
        "prefix": [0] * 4,
        "prefix_tokens": [20] * 4,
    }


def test_without_a_column_of_sessions_there_are_no_rounds(tmp_path: Path) -> None:
    assert read(tmp_path, "0,1,1,1", header="arrival_s,prompt_tokens,output_tokens,round").rounds is None


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["a,1,,0,p,2,5,1"], "s.csv:2: round is 1 of session a, must be 0"),
        (["a,0,,0,p,2,5,1"], "s.csv:2: arrival_s is '', must be"),
        (["a,0,0,0,p,2,5,1", "a,1,3,0,p,2,9,1"], "s.csv:3: arrival_s is '3' in round 1, must be empty"),
        (["a,0,0,0,p,2,5,1", "a,1,,0,p,2,6,1"], "s.csv:3: prompt_tokens is 6, must be above 6"),
        (["a,0,1,0,p,2,5,1", "b,0,0,0,p,2,5,1"], "s.csv:3: arrival_s is 0"),
        (
            ["a,0,0,0,p,2,5,1", "a,1,,0,p,2,16380,9"],
            "s.csv:3: prompt and output are 16389 tokens, must be at most 16384",
        ),
    ],
)
def test_what_is_no_conversation_is_refused(tmp_path: Path, lines: list[str], fault: str) -> None:
    path = written(tmp_path, *lines)
    order = ["replay", f"{path}:colocated", "--model", "llama-3.1-8b", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*order, "--enable-prefix-caching"])

    assert result.exit_code == 2
    assert fault in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("role", "options", "fault"),
    [
        ("colocated", [], "s: has rounds of conversations, must be with --enable-prefix-caching"),
        ("decode", ["--enable-prefix-caching"], "s: has role decode, must be colocated, as it has rounds"),
    ],
)
def test_rounds_need_a_worker_that_keeps_what_it_has_computed(
    tmp_path: Path, role: str, options: list[str], fault: str
) -> None:
    path = written(tmp_path, *TWO_SESSIONS)
    order = ["replay", f"{path}:{role}", "--model", "llama-3.1-8b", "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(app, order)

    assert result.exit_code == 2
    assert fault in result.stderr


def test_texts_have_their_prefix_in_common_and_nothing_else(tmp_path: Path) -> None:
    others = ("c,0,2,0,q,22,25,1", "d,0,2,0,p,20,25,1", "e,0,2,0,,,25,1", "f,0,2,0,,,25,1")
    stream = read(tmp_path, *TWO_SESSIONS, *others)
    assert stream.rounds is not None
    texts = new_texts(stream.rounds, stream.prompt_tokens, 128_256)
    a, a1, a2, b, c, d, e, f = texts

    assert [len(text) for text in texts] == [30, 50 - 35, 60 - 54, 21, 25, 25, 25, 25]
    assert a[:20] == b[:20] == d[:20]
    own = [a, a1, a2, b[20:], c, d[20:], e, f]
    assert len({token for text in own for token in text}) == sum(map(len, own))


def test_prefixes_of_other_lengths_are_other_texts(tmp_path: Path) -> None:
    """The simulator finds nothing of one in the other, either."""
    lines = ("a,0,0,,20,25,1", "b,0,1,,24,25,1")
    stream = read(tmp_path, *lines, header="session,round,arrival_s,think_s,prefix_tokens,prompt_tokens,output_tokens")
    assert stream.rounds is not None
    a, b = new_texts(stream.rounds, stream.prompt_tokens, 128_256)
    assert a[0] != b[0]


def test_a_prompt_may_keep_a_part_of_what_was_said(tmp_path: Path) -> None:
    engine = AnsweringEngine()
    lines = ("a,0,0,,0,8,3", "a,1,,0,5,20,2")
    stream = read(tmp_path, *lines, header="session,round,arrival_s,think_s,history_tokens,prompt_tokens,output_tokens")
    asyncio.run(serve(engine, stream))  # type: ignore[arg-type]

    first, second = engine.prompts
    assert len(second) == 20
    assert second[:5] == first[:5]
    assert second[5:8] != first[5:8]


class AnsweringEngine:
    """Takes 50 ms for a request and answers with the number of the request."""

    vocabulary = 128_256

    def __init__(self) -> None:
        self.prompts: list[list[int]] = []

    def prompt(self, tokens: int) -> None:
        """Nothing to prepare."""

    async def request(
        self,
        kind: str,
        prompt: Sequence[int],
        output_tokens: int,
        *,
        on_tokens: Callable[[Sequence[int]], None],
    ) -> RequestStamps:
        number = len(self.prompts)
        self.prompts.append(list(prompt))
        stamps = RequestStamps(f"{kind}-{number}", kind, len(prompt), output_tokens, time.monotonic())
        await asyncio.sleep(0.05)
        on_tokens([number] * output_tokens)
        stamps.last_token_s = time.monotonic()
        stamps.cached_tokens = 16 * number
        return stamps


def test_a_round_comes_after_the_answer_and_begins_with_what_was_said(tmp_path: Path) -> None:
    stream, engine = read(tmp_path, *TWO_SESSIONS), AnsweringEngine()
    start_s, stamps = asyncio.run(serve(engine, stream))  # type: ignore[arg-type]

    a, b, a1, a2 = engine.prompts
    assert a1[:35] == a + [0] * 5
    assert a2[:54] == a1 + [2] * 4
    assert [len(prompt) for prompt in (a, b, a1, a2)] == [30, 21, 50, 60]
    assert a[:20] == b[:20]

    columns = run_file.request_columns(stream, stamps, start_s, {})
    waited = [sent - planned for sent, planned in zip(columns["submit_s"], columns["arrival_s"], strict=True)]
    assert all(0 <= late_s < 0.04 for late_s in waited)
    assert columns["arrival_s"][1] == pytest.approx(columns["client_last_token_s"][0] + 0.2, abs=2e-6)
    assert columns["arrival_s"][2] == pytest.approx(columns["client_last_token_s"][1], abs=2e-6)
    assert columns["cached_tokens"] == [0, 32, 48, 16]
    assert columns["round"] == [0, 1, 2, 0]
    assert run_file.summary(columns, [])["cached_share"] == pytest.approx(96 / 161, abs=1e-6)


def test_a_request_that_fails_ends_the_stream_at_once(tmp_path: Path) -> None:
    class Failing(AnsweringEngine):
        async def request(self, *_: Any, **__: Any) -> RequestStamps:
            message = "gone"
            raise RuntimeError(message)

    began_s = time.monotonic()
    with pytest.raises(ExceptionGroup):
        asyncio.run(serve(Failing(), read(tmp_path, *TWO_SESSIONS, "z,0,50,0,,,5,1")))  # type: ignore[arg-type]
    assert time.monotonic() - began_s < 5


def test_a_stream_of_rounds_lasts_as_long_as_its_longest_session(tmp_path: Path) -> None:
    # Round 0 is out after 10 x 12 ms, round 1 comes 2 s later and takes 20 x 12 ms.
    lines = ("a,0,1,0,,0,100,10", "a,1,,2,,0,200,20")
    assert read(tmp_path, *lines).expected_s() == pytest.approx(1 + 0.12 + 2 + 0.24, abs=0.02)
