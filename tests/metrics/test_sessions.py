"""What sessions got: closed forms over rows made by hand, and over random ones against the plain definition."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.metrics import REGISTRY, to_json
from sunsim.metrics.energy import add_power
from sunsim.metrics.rows import Window
from sunsim.metrics.sessions import Rounds, add_sessions, by_round, durations
from sunsim.records import ArmResult
from sunsim.report.sentences import filling
from sunsim.roles import Stage
from tests.metrics.synthetic import table, talk, toy_summary, toy_worker
from tests.metrics.test_energy import power_of, powered
from tests.synthetic import synthetic_profile

CHAT = (
    {"session": 0, "prompt_tokens": 100, "output_tokens": 20, "first_token_s": 0.5, "last_token_s": 2.0},
    {
        "session": 0,
        "round": 1,
        "arrival_s": 4.0,
        "first_token_s": 4.25,
        "last_token_s": 7.0,
        "prompt_tokens": 200,
        "output_tokens": 20,
        "history_tokens": 120,
        "cached_tokens": 96,
        "moved_tokens": 104,
        "model": "m2",
    },
    {
        "session": 1,
        "prompt_tokens": 100,
        "arrival_s": 1.0,
        "first_token_s": 2.5,
        "last_token_s": 3.0,
        "cached_tokens": 32,
    },
)


def summary_of(*rounds: dict[str, Any], window_s: tuple[float, float] = (0.0, 10.0)) -> dict[str, Any]:
    workers = [
        toy_worker("prefill/m1/0", "prefill", "m1", prefix_cache_queries=400, prefix_cache_hits=128),
        toy_worker("decode/m1/0", "decode", prefix_cache_queries=7),
    ]
    arm = ArmResult(talk(*rounds), workers)
    summary = toy_summary(arm)
    summary["window"] = {"start_s": window_s[0], "end_s": window_s[1], "too_short": False}
    add_sessions(summary, [arm], {"a": 1_000_000})
    entry: dict[str, Any] = summary["arms"]["a"]
    return entry


def test_shares_are_of_tokens() -> None:
    """128 of 400 prompt tokens were found; of the 120 tokens that round 1 had before it, 96."""
    found = summary_of(*CHAT)
    assert found["cached_share"] == pytest.approx(128 / 400)
    assert found["recomputed_share"] == pytest.approx(24 / 120)
    assert found["models"]["m2"]["cached_share"] == pytest.approx(96 / 200)
    assert found["models"]["m1"]["recomputed_share"] is None


def test_what_is_pulled_is_not_computed_again() -> None:
    """Of 120 tokens of history 96 are found and 20 pulled."""
    found = summary_of(CHAT[0], CHAT[1] | {"pulled_tokens": 20}, CHAT[2])
    assert found["cached_share"] == pytest.approx(128 / 400)
    assert found["recomputed_share"] == pytest.approx(4 / 120)


def test_each_round_has_its_own_figures() -> None:
    first, second = summary_of(*CHAT)["rounds"]
    assert (first["round"], first["window_requests"], second["round"], second["window_requests"]) == (0, 2, 1, 1)
    assert first["mean_ttft_ms"] == first["median_ttft_ms"] == pytest.approx(1000)
    assert first["p99_ttft_ms"] == pytest.approx(1490)
    assert second["mean_ttft_ms"] == pytest.approx(250)
    assert first["cached_share"] == pytest.approx(32 / 200)
    assert (first["recomputed_share"], second["recomputed_share"]) == (None, pytest.approx(24 / 120))


def test_a_session_lasts_from_its_first_arrival_to_its_last_token() -> None:
    found = summary_of(*CHAT)
    assert (found["sessions"], found["mean_session_duration_s"]) == (2, pytest.approx(4.5))
    assert found["p99_session_duration_s"] == pytest.approx(2 + 5 * 0.99)


def test_only_what_begins_inside_the_window_counts() -> None:
    found = summary_of(*CHAT, window_s=(1.0, 3.0))
    assert (found["sessions"], found["mean_session_duration_s"]) == (1, pytest.approx(2.0))
    assert [entry["round"] for entry in found["rounds"]] == [0]
    assert found["cached_share"] == pytest.approx(0.32)


def test_fewer_rounds_come_than_will_while_sessions_fill_up() -> None:
    assert summary_of(*CHAT)["steady_share"] == 1
    # Round 1 of the first session comes after the window.
    found = summary_of(*CHAT, window_s=(0.0, 3.0))
    assert (found["sessions"], found["steady_share"]) == (2, pytest.approx(2 / 3))
    assert "The load still grows" in filling({"a": found})[0]
    assert filling({"a": summary_of(*CHAT)}) == []


def test_what_is_cut_off_has_no_duration_and_no_share() -> None:
    cut = CHAT[1] | {"outcome": "unfinished", "last_token_s": float("nan")}
    found = summary_of(CHAT[0], cut, CHAT[2])
    assert (found["sessions"], found["median_session_duration_s"]) == (2, pytest.approx(2.0))
    assert found["cached_share"] == pytest.approx(32 / 200)
    assert found["rounds"][1]["window_requests"] == 1
    assert found["rounds"][1]["mean_ttft_ms"] is None


def test_moved_and_looked_up_are_of_the_whole_run() -> None:
    found = summary_of(*CHAT, window_s=(1.0, 3.0))
    assert found["moved_gb"] == pytest.approx(0.104)
    assert (found["prefix_cache_queries"], found["prefix_cache_hits"]) == (407, 128)
    assert found["workers"]["prefill/m1/0"]["prefix_cache_hits"] == 128


def test_all_is_declared_and_can_be_written() -> None:
    found = summary_of(*CHAT)
    assert set(found).union(*found["rounds"], *found["workers"].values(), *found["models"].values()) <= set(REGISTRY)
    assert json.loads(to_json(found)) == found


def test_without_sessions_nothing_is_added() -> None:
    arm = ArmResult(table({}), [toy_worker("decode/m1/0", "decode")])
    summary = toy_summary(arm)
    before = to_json(summary)
    add_sessions(summary, [arm], {"a": 1})
    assert to_json(summary) == before


@pytest.mark.parametrize("stage", ["prefill", "decode"])
def test_where_requests_share_blocks_occupancy_is_not_known(stage: str) -> None:
    def occupancy(queries: int) -> float | None:
        worker = toy_worker(f"{stage}/m1/0", stage, "m1", prefix_cache_queries=queries)
        summary = toy_summary(ArmResult(talk(*CHAT), [worker]))
        found: float | None = summary["arms"]["a"]["workers"][worker.name]["peak_kv_occupancy"]
        return found

    assert occupancy(400) is None
    assert occupancy(0) == 0


def test_power_is_that_of_what_was_computed() -> None:
    """300 tokens in two steps, of which 60 are found and 40 pulled: 100 a step."""
    profile = synthetic_profile()
    points = [
        profile["prefill_points"][0] | {"new_tokens": tokens, "attended_pairs": 1e9, "avg_power_w": watts}
        for tokens, watts in ((100, 200.0), (150, 600.0))
    ]
    power = power_of(powered(profile) | {"prefill_points": points})
    worker = toy_worker("prefill/m1/0", "prefill", "m1", steps=2)
    rows = talk({"prompt_tokens": 300, "cached_tokens": 60, "pulled_tokens": 40, "prefill_worker": worker.name})
    entry: dict[str, Any] = {"workers": {worker.name: {"utilisation": 1.0}}, "output_throughput_window": 1.0}
    add_power({"arms": {"a": entry}}, [ArmResult(rows, [worker])], {"a": {Stage.PREFILL: power}})
    assert entry["workers"][worker.name]["mean_power_w"] == pytest.approx(200)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1), st.integers(0, 9)),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_rounds_in_any_order_are_as_plainly_counted(
    sessions: list[list[tuple[int, int, float, int]]], order: Any
) -> None:
    """Session by session and round by round, whatever the order of the rows."""
    rounds: list[dict[str, Any]] = []
    spans: list[float] = []
    for session, talked in enumerate(sessions):
        history, clock_s = 0, 0.0
        for number, (new, output, hit, took) in enumerate(talked):
            prompt = history + new
            rounds.append(
                {
                    "session": session,
                    "round": number,
                    "prompt_tokens": prompt,
                    "output_tokens": output,
                    "history_tokens": history,
                    "cached_tokens": int(hit * prompt),
                    "arrival_s": clock_s,
                    "first_token_s": clock_s,
                    "last_token_s": clock_s + took,
                }
            )
            history, clock_s = prompt + output, clock_s + took + 1
        spans.append(clock_s - 1)
    order.shuffle(rounds)
    found = Rounds.from_rows(talk(*rounds))
    lacking = sum(max(0, each["history_tokens"] - each["cached_tokens"]) for each in rounds)
    everything = sum(each["history_tokens"] for each in rounds)
    assert found.recomputed_share == (pytest.approx(lacking / everything) if everything else None)
    assert sum(entry["window_requests"] for entry in by_round(found)) == len(rounds)
    assert durations(talk(*rounds), Window(0.0, 0.0))["mean_session_duration_s"] == pytest.approx(np.mean(spans))
