"""What drafting gave: closed forms over rows made by hand, and over random ones against the plain definition."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.metrics import REGISTRY, to_json
from sunsim.metrics.drafts import add_drafts
from sunsim.records import ArmResult
from tests.metrics.synthetic import drafted, table, toy_summary, toy_worker

ROWS = (
    # 10 tokens in 1 + 4 steps: 3, 2, 0 and, of 3, the one that still fitted.
    {
        "output_tokens": 10,
        "bursts": 5,
        "drafts": 4,
        "draft_tokens": 12,
        "accepted_tokens": 8,
        "first_token_s": 1.0,
        "last_token_s": 1.08,
    },
    {
        "model": "m2",
        "output_tokens": 3,
        "bursts": 3,
        "drafts": 2,
        "draft_tokens": 6,
        "first_token_s": 1.0,
        "last_token_s": 1.03,
    },
    {"output_tokens": 1, "arrival_s": 2.0, "first_token_s": 3.0, "last_token_s": 3.0},
)
COUNTED: dict[str, Any] = {"num_drafts": 6, "num_draft_tokens": 18, "num_accepted_tokens_per_pos": (3, 3, 2)}


def summary_of(*rows: dict[str, Any], window_s: tuple[float, float] = (0.0, 10.0), **counted: Any) -> dict[str, Any]:
    arm = ArmResult(drafted(*rows), [toy_worker("p", "prefill"), toy_worker("d", "decode", **counted)])
    summary = toy_summary(arm)
    summary["window"] = {"start_s": window_s[0], "end_s": window_s[1], "too_short": False}
    add_drafts(summary, [arm])
    entry: dict[str, Any] = summary["arms"]["a"]
    return entry


def test_acceptance_is_as_vllm_counts_it() -> None:
    found = summary_of(*ROWS, **COUNTED)
    assert (found["num_drafts"], found["num_draft_tokens"], found["num_accepted_tokens"]) == (6, 18, 8)
    assert found["mean_acceptance_length"] == pytest.approx(1 + 8 / 6)
    assert found["draft_acceptance_rate"] == pytest.approx(8 / 18)
    assert found["acceptance_rate_per_pos"] == pytest.approx([3 / 6, 3 / 6, 2 / 6])
    assert 1 + sum(found["acceptance_rate_per_pos"]) == pytest.approx(found["mean_acceptance_length"])
    assert found["workers"]["d"]["acceptance_rate_per_pos"] == found["acceptance_rate_per_pos"]
    assert (found["workers"]["p"]["num_drafts"], found["workers"]["p"]["mean_acceptance_length"]) == (0, None)


def test_workers_that_draft_more_and_fewer_tokens_add_up() -> None:
    workers = [
        toy_worker("d", "decode", num_drafts=3, num_draft_tokens=3, num_accepted_tokens_per_pos=(2,)),
        toy_worker("e", "decode", num_drafts=1, num_draft_tokens=2, num_accepted_tokens_per_pos=(1, 1)),
    ]
    arm = ArmResult(drafted(*ROWS), workers)
    summary = toy_summary(arm)
    add_drafts(summary, [arm])
    assert summary["arms"]["a"]["acceptance_rate_per_pos"] == [3 / 4, 1 / 4]


def test_each_model_has_its_own_acceptance_of_the_whole_run() -> None:
    found = summary_of(*ROWS, window_s=(1.5, 10.0), **COUNTED)
    assert found["models"]["m1"]["mean_acceptance_length"] == pytest.approx(3)
    assert found["models"]["m2"]["mean_acceptance_length"] == 1
    assert sum(own["num_drafts"] for own in found["models"].values()) == found["num_drafts"]
    assert found["models"]["m1"]["mean_itl_ms"] is None  # nobody with two tokens arrived inside


def test_itl_is_the_gap_between_bursts_and_tpot_that_between_tokens() -> None:
    """Four gaps of 20 ms and two of 15 ms: not the mean of the requests' means, which is 17.5."""
    found = summary_of(*ROWS, **COUNTED)
    assert found["mean_itl_ms"] == pytest.approx((4 * 20 + 2 * 15) / 6)
    assert found["median_request_itl_ms"] == pytest.approx(17.5)
    assert found["p99_request_itl_ms"] == pytest.approx(19.95)
    assert found["models"]["m1"]["mean_itl_ms"] == pytest.approx(20)
    assert found["mean_tpot_ms"] == pytest.approx((80 / 9 + 15) / 2)


def test_without_drafts_gaps_are_those_between_tokens() -> None:
    plain = {"output_tokens": 5, "first_token_s": 1.0, "last_token_s": 1.04}
    found = summary_of(plain)
    assert found["mean_itl_ms"] == found["mean_tpot_ms"] == pytest.approx(10)
    assert (found["num_drafts"], found["mean_acceptance_length"], found["acceptance_rate_per_pos"]) == (0, None, None)


def test_what_is_cut_off_has_drafts_and_no_gap() -> None:
    cut = ROWS[0] | {"outcome": "unfinished", "last_token_s": float("nan"), "bursts": 0}
    found = summary_of(cut, **COUNTED)
    assert (found["models"]["m1"]["num_drafts"], found["mean_itl_ms"]) == (4, None)


def test_all_is_declared_and_can_be_written() -> None:
    found = summary_of(*ROWS, **COUNTED)
    assert set(found).union(*found["workers"].values(), *found["models"].values()) <= set(REGISTRY)
    assert json.loads(to_json(found)) == found


def test_without_drafts_in_any_arm_nothing_is_added() -> None:
    arm = ArmResult(table({}), [toy_worker("d", "decode")])
    summary = toy_summary(arm)
    before = to_json(summary)
    add_drafts(summary, [arm])
    assert to_json(summary) == before


@given(st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=6))
def test_the_mean_is_that_of_all_gaps(gaps_ms: list[list[int]]) -> None:
    rows = [
        {"output_tokens": 3 * len(own) + 1, "bursts": len(own) + 1, "last_token_s": 1.0 + sum(own) / 1000}
        for own in gaps_ms
    ]
    every = [gap for own in gaps_ms for gap in own]
    found = summary_of(*rows)["mean_itl_ms"]
    assert found == (pytest.approx(np.mean(every)) if every else None)
