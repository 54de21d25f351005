"""What a run prints, draws and keeps of sessions; and that it says nothing of them where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from plots.rounds import plot_rounds
from sunsim.artist import Artist
from sunsim.metrics.sessions import add_sessions
from sunsim.pictures import draw
from sunsim.records import SESSION_COLUMNS, ArmResult
from sunsim.report.html import to_html
from sunsim.report.markdown import to_markdown
from sunsim.report.sentences import caches
from sunsim.report.summary import summary_report, tables
from sunsim.report.terminal import plain
from sunsim.result import Result, read
from tests.metrics.synthetic import table, talk, toy_summary, toy_worker

ROUNDS = 5


def arm(name: str, cached: float, ttft_s: float, sessions: int = 3, rounds: int = ROUNDS) -> ArmResult:
    """Sessions side by side, a round every ten seconds: 100 new tokens each and answers of 50, `cached` of the history."""
    rows = [
        {
            "session": session,
            "round": number,
            "prompt_tokens": 100 + 150 * number,
            "output_tokens": 50,
            "history_tokens": 150 * number,
            "cached_tokens": int(cached * 150 * number),
            "moved_tokens": 100,
            "appended": "remote",
            "decode_worker": "decode/shared/0",
            "arrival_s": 10.0 * number + session,
            "decode_scheduled_s": 10.0 * number + session,
            "decode_first_token_s": 10.0 * number + session + ttft_s,
            "first_token_s": 10.0 * number + session + ttft_s,
            "last_token_s": 10.0 * number + session + ttft_s + 2,
        }
        for session in range(sessions)
        for number in range(rounds)
    ]
    return ArmResult(talk(*rows, arm=name), [toy_worker("decode/shared/0", "decode", steps=9)])


def summary_of(*arms: ArmResult) -> dict[str, Any]:
    summary = toy_summary(*arms, meta={"scenario": "talk", "seed": 1})
    add_sessions(summary, arms, dict.fromkeys(summary["arms"], 10_000_000))
    return summary


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return summary_of(arm("isolated", 1.0, 0.125), arm("sun", 0.5, 0.25))


SESSIONS = """\
Sessions
                    session mean  session median  session p99          computed  KV moved
arm       sessions             s               s            s  cached     again        GB
────────  ────────  ────────────  ──────────────  ───────────  ──────  ────────  ────────
isolated         3    42.1            42.1         42.1        75.0 %     0.0 %      15.0
sun              3    42.2 1.00x      42.2 1.00x   42.2 1.00x  37.5 %    50.0 %      15.0

By round (the others are in rounds.png and summary.json)
                       TTFT mean  TTFT median   TTFT p99          computed
arm         in window         ms           ms         ms  cached     again
──────────  ─────────  ─────────  ───────────  ─────────  ──────  ────────
round 0
  isolated          3  125          125        125         0.0 %         -
  sun               3  250 2.00x    250 2.00x  250 2.00x   0.0 %         -
round 1
  isolated          3  125          125        125        60.0 %     0.0 %
  sun               3  250 2.00x    250 2.00x  250 2.00x  30.0 %    50.0 %
round 2
  isolated          3  125          125        125        75.0 %     0.0 %
  sun               3  250 2.00x    250 2.00x  250 2.00x  37.5 %    50.0 %
round 4
  isolated          3  125          125        125        85.7 %     0.0 %
  sun               3  250 2.00x    250 2.00x  250 2.00x  42.9 %    50.0 %
"""


def test_two_tables_and_a_sentence(summary: dict[str, Any]) -> None:
    printed = plain(summary_report(summary).blocks, 120)
    assert SESSIONS in printed
    (said,) = caches(summary["arms"])
    assert said == (
        "Found in prefix caches, of the prompts' tokens: 75.0 % in isolated; 37.5 % in sun. Computed again of what a session's "
        "round before had left: 0.0 % in isolated; 50.0 % in sun."
    )
    for text in (to_markdown(summary_report(summary)), to_html(summary_report(summary))):
        assert "KV moved" in text
        assert "round 4" in text


def test_a_round_that_the_first_arm_has_not_is_compared_with_nothing() -> None:
    found = summary_of(arm("short", 1.0, 0.125, rounds=2), arm("long", 1.0, 0.25))
    (by_round,) = (each for each in tables(found) if each.title.startswith("By round"))
    third = by_round.rows.index(("round 2",))
    assert by_round.rows[third + 1][0] == "  long"
    assert [cell.split() for cell in by_round.rows[third + 1][2:5]] == [["250"]] * 3


def test_where_every_round_is_shown_none_is_said_to_be_elsewhere() -> None:
    titles = [each.title for each in tables(summary_of(arm("short", 1.0, 0.125, rounds=3)))]
    assert "By round" in titles


def test_a_round_that_the_table_leaves_out_is_in_the_summary_and_the_picture(
    summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[float]] = []

    def look(fig: Figure, *_: object, **__: object) -> None:
        lines = [line for axes in fig.axes for line in axes.lines if line.get_linestyle() != "None"]
        drawn.extend(np.asarray(line.get_xdata()).tolist() for line in lines)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", look)
    plot_rounds(summary["arms"], tmp_path / "rounds.png")
    assert len(drawn) == 3 * len(summary["arms"])
    assert all(3 in rounds for rounds in drawn)
    assert all(3 in [own["round"] for own in entry["rounds"]] for entry in summary["arms"].values())


def test_sessions_of_one_round_have_no_table_by_round() -> None:
    printed = plain(summary_report(summary_of(arm("one", 0.0, 0.5, rounds=1))).blocks, 120)
    assert "Sessions" in printed
    assert "round 0" not in printed


def test_without_sessions_nothing_is_said() -> None:
    rows = table({"decode_worker": "d", "arrival_s": 0.0, "first_token_s": 1.0, "last_token_s": 2.0})
    found = toy_summary(ArmResult(rows, [toy_worker("d", "decode", steps=1)]))
    assert caches(found["arms"]) == []
    assert "session" not in plain(summary_report(found).blocks, 120).lower()


def test_the_picture_is_drawn_of_several_rounds_alone(tmp_path: Path, summary: dict[str, Any]) -> None:
    rows = {name: arm(name, 1.0, 0.5).rows for name in summary["arms"]}
    draw(tmp_path, rows, summary, Artist())
    assert (tmp_path / "rounds.png").read_bytes().startswith(b"\x89PNG")
    one = summary_of(arm("one", 0.0, 0.5, rounds=1))
    (tmp_path / "other").mkdir()
    draw(tmp_path / "other", {"one": arm("one", 0.0, 0.5, rounds=1).rows}, one, Artist())
    assert not (tmp_path / "other" / "rounds.png").exists()


def test_equal_data_give_equal_pictures(tmp_path: Path, summary: dict[str, Any]) -> None:
    for name in ("first.png", "second.png"):
        plot_rounds(summary["arms"], tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_the_columns_of_sessions_are_kept_and_read_again(tmp_path: Path, summary: dict[str, Any]) -> None:
    rows = {name: arm(name, 1.0, 0.125).rows for name in summary["arms"]}
    made = Result(rows, summary | {"sunsim_version": "0", "profiles": {}}, "name: talk\n")
    made.save(tmp_path / "talk")
    again = read(tmp_path / "talk")
    pd.testing.assert_frame_equal(again.requests, made.requests)
    assert set(again.requests) >= {column.name for column in SESSION_COLUMNS}
    assert again.requests["cached_tokens"].sum() == made.requests["cached_tokens"].sum() > 0
    assert made.table()["cached"].tolist() == [0.75, 0.375]
