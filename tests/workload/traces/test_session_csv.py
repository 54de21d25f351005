"""Sessions in csv files: which request follows which, and what is refused at its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sunsim.clock import to_s
from sunsim.errors import InputError
from sunsim.run import check
from sunsim.scenario import build_requests, load_scenario
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import UNKNOWN, Sessions
from sunsim.workload.streams import stream
from sunsim.workload.texts import repeated_tokens
from tests.plan.small import invoke
from tests.scenario_files import write_trace
from tests.trace_files import SESSIONS, write


def requests_of(folder: Path, text: str, *overrides: str) -> Requests:
    return build_requests(load_scenario(write_trace(folder, text), overrides))


def told(requests: Requests) -> Sessions:
    assert requests.sessions
    return requests.sessions


def without(text: str, *columns: str) -> str:
    rows = [line.split(",") for line in text.splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in columns]
    return "".join(",".join(row[i] for i in kept) + "\n" for row in rows)


def test_rounds_stand_together_and_follow_each_other(tmp_path: Path) -> None:
    requests = requests_of(tmp_path, SESSIONS)
    sessions = told(requests)
    assert to_s(requests.arrival_ps).tolist() == [0, 0, 0, 0.5, 1.5]
    assert requests.prompt_tokens.tolist() == [100, 150, 200, 80, 30]
    assert requests.model.tolist() == [0, 1, 0, 0, 1]
    assert sessions.session.tolist() == [0, 0, 0, 1, 2]
    assert sessions.round.tolist() == [0, 1, 2, 0, 0]
    assert sessions.previous.tolist() == [UNKNOWN, 0, 1, UNKNOWN, UNKNOWN]
    assert to_s(sessions.think_ps).tolist() == [0, 2.5, 1, 0, 0]
    # What was said before, and the 50 tokens of a prefix that y has in common with x.
    assert repeated_tokens(sessions).tolist() == [0, 120, 180, 50, 0]
    assert check(tmp_path / "scenario.yaml", (), None).startswith("ok: replay: 5 requests of 3 sessions in 1.50 s for ")


def test_a_prefix_without_a_name_is_the_model_s(tmp_path: Path) -> None:
    text = without(SESSIONS, "prefix").replace("z,0,0,,b", "z,0,0,20,b")
    assert repeated_tokens(told(requests_of(tmp_path, text))).tolist() == [0, 120, 180, 50, 0]
    other = text.replace("y,0,,50,a", "y,0,,50,b")
    assert repeated_tokens(told(requests_of(tmp_path, other))).tolist() == [0, 120, 180, 0, 0]


def test_a_part_of_what_was_said_may_be_kept(tmp_path: Path) -> None:
    lines = SESSIONS.splitlines()
    kept = ["history_tokens", "", "70", "", "", ""]
    text = "".join(f"{line},{more}\n" for line, more in zip(lines, kept, strict=True))
    assert repeated_tokens(told(requests_of(tmp_path, text))).tolist() == [0, 70, 180, 50, 0]


def test_a_session_without_models_is_of_one_that_is_drawn(tmp_path: Path) -> None:
    requests = requests_of(tmp_path, without(SESSIONS, "model"))
    drawn = stream(0, "model").random(3) >= 0.75
    assert np.array_equal(requests.model, drawn[[0, 0, 0, 1, 2]])


@pytest.mark.parametrize(
    ("window", "prompts"),
    [
        (("workload.start_s=0.5",), [80, 30]),
        (("workload.duration_s=0.25",), [100, 150, 200]),
        (("workload.requests=4",), [100, 150, 200, 80]),
        (("workload.start_s=0.25", "workload.requests=1"), [80]),
    ],
)
def test_a_session_is_taken_or_left_whole(tmp_path: Path, window: tuple[str, ...], prompts: list[int]) -> None:
    assert requests_of(tmp_path, SESSIONS, *window).prompt_tokens.tolist() == prompts


def test_what_is_scaled_is_when_sessions_begin_and_not_how_long_users_think(tmp_path: Path) -> None:
    requests = requests_of(tmp_path, SESSIONS, "workload.rate_scale=2")
    assert to_s(requests.arrival_ps).tolist() == [0, 0, 0, 0.25, 0.75]
    assert to_s(told(requests).think_ps).tolist() == [0, 2.5, 1, 0, 0]


def test_a_session_that_does_not_fit_among_so_many_requests_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no request is left of 5 \(5 outside the window\)"):
        requests_of(tmp_path, SESSIONS, "workload.requests=2")


def test_rounds_that_fit_nowhere_are_dropped_from_a_session_s_end(tmp_path: Path) -> None:
    short = ("arms.sun.decode.max_model_len=180", "workload.too_long=drop")
    requests = requests_of(tmp_path, SESSIONS, *short)
    assert requests.prompt_tokens.tolist() == [100, 150, 80, 30]
    assert told(requests).previous.tolist() == [UNKNOWN, 0, UNKNOWN, UNKNOWN]


def test_the_next_round_begins_a_session_whose_first_one_is_dropped(tmp_path: Path) -> None:
    text = SESSIONS.replace("0.0,100,20,", "0.0,100,900,").replace(",150,30,x", ",110,30,x").splitlines()
    rows = "".join(
        f"{line},{more}\n" for line, more in zip(text, ["history_tokens", "", "99", "", "", ""], strict=True)
    )
    requests = requests_of(tmp_path, rows, "arms.sun.decode.max_model_len=500", "workload.too_long=drop")
    assert requests.prompt_tokens.tolist() == [110, 200, 80, 30]
    assert told(requests).previous.tolist() == [UNKNOWN, 0, UNKNOWN, UNKNOWN]
    # It begins with the prefix still, and not with what the round that is gone had said.
    assert repeated_tokens(told(requests)).tolist() == [0, 140, 50, 0]


def test_sessions_convert_to_themselves(tmp_path: Path) -> None:
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    assert invoke("trace", "convert", write(tmp_path, "csv", SESSIONS), "--out", once)[0] == 0
    assert invoke("trace", "convert", once, "--out", twice)[0] == 0
    assert once.read_text() == twice.read_text()
    one, two = requests_of(tmp_path, SESSIONS), requests_of(tmp_path, once.read_text())
    assert np.array_equal(one.arrival_ps, two.arrival_ps)
    assert np.array_equal(one.model, two.model)
    assert np.array_equal(told(one).segments.end, told(two).segments.end)
    assert np.array_equal(told(one).segments.parent, told(two).segments.parent)
    assert np.array_equal(told(one).think_ps, told(two).think_ps)


def test_sessions_are_described(tmp_path: Path) -> None:
    said = invoke("trace", "describe", write(tmp_path, "csv", SESSIONS), "--out", tmp_path)[1]
    assert said.startswith("csv.csv (csv): 5 requests of 3 sessions in 1.50 s\n")
    assert "sessions/s" in said
    assert "rounds a session  1.67" in said
    assert "s to think        1.75" in said
    assert "62.5 % of the prompt tokens repeat the beginning of an earlier request." in said
    assert (tmp_path / "csv.png").stat().st_size > 10_000


# (what a line says, what it says instead, the line, the message)
WRONG = [
    ("1.5,30,5,z,0,0", "1.5,30,5,,0,0", 6, "session is empty, must be a name"),
    (",150,30,x,1", ",150,30,x,1.5", 3, "round is '1.5', must be a whole number of at least 0"),
    (",150,30,x,1", ",150,30,x,", 3, "round is '', must be a whole number of at least 0"),
    (",150,30,x,1", ",0,30,x,1", 3, "prompt_tokens is '0', must be a whole number of at least 1, below "),
    (",150,30,x,1", ",150,y,x,1", 3, "output_tokens is 'y', must be a whole number of at least 1, below "),
    ("1.5,30", ",30", 6, "arrival_s is '', must be a number of seconds from 0 to "),
    (
        ",150,30,x,1",
        "0.1,150,30,x,1",
        3,
        "arrival_s is '0.1' in round 1, must be empty: it arrives think_s after the round before",
    ),
    (
        ",150,30,x,1",
        "soon,150,30,x,1",
        3,
        "arrival_s is 'soon' in round 1, must be empty: it arrives think_s after the round before",
    ),
    ("1.5,30", "0.25,30", 6, "arrival_s is 0.25, must not fall; `sunsim trace convert"),
    ("x,1,2.5", "x,1,", 3, "think_s is '', must be a number of seconds from 0 to "),
    ("x,1,2.5", "x,1,-1", 3, "think_s is '-1', must be a number of seconds from 0 to "),
    ("y,0,,sys", "y,0,3,sys", 4, "think_s is '3' in round 0, must be empty: there is no round before"),
    ("x,2,1.0", "x,3,1.0", 5, "round is 3 of session x, must be 2: rounds count from 0, each is there once"),
    ("x,2,1.0", "x,1,1.0", 5, "round is 1 of session x, must be 2: rounds count from 0, each is there once"),
    ("x,2,1.0", "w,2,1.0", 5, "round is 2 of session w, must be 0: the session has no round 0"),
    (
        ",150,30,x",
        ",120,30,x",
        3,
        "prompt_tokens is 120, must be above 120: prompt and answer of the round before, which it begins with",
    ),
    ("y,0,,sys,50", "y,0,,sys,80", 4, "prefix_tokens is 80, must be below prompt_tokens (80)"),
    ("y,0,,sys,50", "y,0,,sys,4.5", 4, "prefix_tokens is '4.5', must be a whole number of at least 0"),
    ("y,0,,sys,50", "y,0,,sys,", 4, "prefix_tokens is empty, must be given for prefix sys"),
    ("y,0,,sys,50", "y,0,,,50", 4, "prefix is empty, must be a name where prefix_tokens is 50"),
    ("y,0,,sys,50", "y,0,,sys,40", 4, "prefix_tokens is 40 of prefix sys, must be 50 as in line 2"),
    ("session,round", "session,turn", 1, "column round is missing, must be there once; the columns are "),
    ("think_s", "think", 1, "column think_s is missing, must be there once; the columns are "),
    ("prefix_tokens", "length", 1, "column prefix_tokens is missing, must be there once; the columns are "),
    ("think_s", "round", 1, "column round is there twice, must be there once; the columns are "),
    (",150,30,x,1,2.5,,,b", ",150,30,x,1,2.5", 3, "the line has 6 values, must have 9"),
]


@pytest.mark.parametrize(("there", "instead", "line", "message"), WRONG, ids=[message[:40] for *_, message in WRONG])
def test_what_is_wrong_is_refused_at_its_line(
    tmp_path: Path, there: str, instead: str, line: int, message: str
) -> None:
    assert SESSIONS.count(there) >= 1
    with pytest.raises(InputError) as caught:
        requests_of(tmp_path, SESSIONS.replace(there, instead, 1))
    assert str(caught.value).startswith(f"{tmp_path}/trace.csv:{line}: {message}")


@pytest.mark.parametrize("kept", ["121", "-1", "1.5", "x"])
def test_no_more_is_kept_than_was_said(tmp_path: Path, kept: str) -> None:
    lines = SESSIONS.splitlines()
    more = ["history_tokens", "", kept, "", "", ""]
    with pytest.raises(
        InputError, match=rf"trace\.csv:3: history_tokens is '{kept}', must be a whole number from 0 to 120"
    ):
        requests_of(tmp_path, "".join(f"{line},{end}\n" for line, end in zip(lines, more, strict=True)))
