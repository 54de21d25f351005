"""Which limits hold for a request, and which requests meet theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.metrics.rows import Requests
from sunsim.metrics.slo import limit_values, limits_each, limits_of, meets_slo, missed
from sunsim.records import ArmResult
from sunsim.report.format import limits
from sunsim.report.summary import summary_report, tables
from tests.metrics.synthetic import table, toy_summary, toy_worker

SLO = {"ttft_ms": 1000.0, "tpot_ms": 20.0, "models": {"m2": {"tpot_ms": 10.0}, "m3": {"e2el_ms": 500.0}}}

ROWS = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 400), st.integers(0, 900), st.integers(1, 30), st.integers(1, 3)),
    min_size=1,
    max_size=40,
)
"""Arrival, what the first token takes and what the others take, in milliseconds; tokens; the model's number."""
LIMIT = st.integers(1, 1200).map(float)


def rows(drawn: list[tuple[int, int, int, int, int]]) -> pd.DataFrame:
    return table(
        *(
            {
                "decode_worker": "d",
                "model": f"m{model}",
                "arrival_s": at / 1000,
                "first_token_s": (at + first) / 1000,
                "last_token_s": (at + first + (others if tokens > 1 else 0)) / 1000,
                "output_tokens": tokens,
            }
            for at, first, others, tokens, model in sorted(drawn)
        )
    )


def test_a_models_limits_replace_the_others_key_by_key() -> None:
    assert limits_of(SLO, "m1") == {"ttft_ms": 1000, "tpot_ms": 20}
    assert limits_of(SLO, "m2") == {"ttft_ms": 1000, "tpot_ms": 10}
    assert limits_of(SLO, "m3") == {"ttft_ms": 1000, "tpot_ms": 20, "e2el_ms": 500}
    models = pd.Series(["m3", "m1", "m2", "m1"])
    each = {key: np.broadcast_to(limit, 4).tolist() for key, limit in limits_each(SLO, models).items()}
    assert each == {"ttft_ms": [1000] * 4, "tpot_ms": [20, 20, 10, 20], "e2el_ms": [500, np.inf, np.inf, np.inf]}
    assert limit_values(SLO, ("m1", "m2", "m3")) == {"ttft_ms": [1000], "tpot_ms": [10, 20], "e2el_ms": [500]}
    assert limit_values(SLO, ("m1",)) == {"ttft_ms": [1000], "tpot_ms": [20]}


def test_each_limit_is_missed_by_those_who_have_it_and_are_later() -> None:
    """Alike but for the model: TTFT 400 ms, TPOT 15 ms, E2EL 550 ms; and one that the stop cut off."""
    found = rows([(0, 400, 150, 11, model) for model in (1, 2, 3)] + [(10, 400, 150, 11, 1)])
    found.loc[3, "last_token_s"] = np.nan
    found.loc[3, "outcome"] = "unfinished"
    requests, each = Requests.from_rows(found), limits_each(SLO, found["model"])
    assert {key: late.tolist() for key, late in missed(requests, each).items()} == {
        "ttft_ms": [False, False, False, True],
        "tpot_ms": [False, True, False, True],
        "e2el_ms": [False, False, True, False],
    }
    assert meets_slo(requests, each).tolist() == [True, False, False, False]
    assert meets_slo(requests, {"e2el_ms": 550.0}).tolist() == [True, True, True, False]
    assert meets_slo(requests, {"e2el_ms": 549.999999}).tolist() == [False] * 4


@settings(max_examples=40, deadline=None)
@given(ROWS, LIMIT, st.integers(1, 60).map(float), LIMIT)
def test_equal_limits_of_each_model_are_common_limits(
    drawn: list[tuple[int, int, int, int, int]], ttft_ms: float, tpot_ms: float, e2el_ms: float
) -> None:
    found = rows(drawn)
    common = {"ttft_ms": ttft_ms, "tpot_ms": tpot_ms, "e2el_ms": e2el_ms}
    apart = {"ttft_ms": 1.0, "models": {f"m{i}": common for i in (1, 2, 3)}}
    summaries = [toy_summary(ArmResult(found, [toy_worker("d", "decode")]), slo=slo) for slo in (common, apart)]
    assert summaries[0]["arms"] == summaries[1]["arms"]


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(1, 400), st.integers(1, 60))
def test_who_meets_ttft_and_tpot_meets_the_end_to_end_limit_that_they_make(
    drawn: list[tuple[int, int, int, int, int]], ttft_ms: int, tpot_ms: int
) -> None:
    """With n tokens, TTFT + (n - 1) TPOT; and without a limit on pace, E2EL is TTFT plus what the others take."""
    found = rows(drawn)
    requests = Requests.from_rows(found)
    gaps = requests.output_tokens - 1
    composite = meets_slo(requests, {"e2el_ms": ttft_ms + tpot_ms * gaps})
    assert composite[meets_slo(requests, {"ttft_ms": ttft_ms, "tpot_ms": tpot_ms})].all()
    others_ms = np.rint((requests.last_token_s - requests.first_token_s) * 1000)
    exact = meets_slo(requests, {"e2el_ms": ttft_ms + others_ms})
    assert exact.tolist() == meets_slo(requests, {"ttft_ms": float(ttft_ms)}).tolist()


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_what_models_meet_adds_up_to_what_all_meet(drawn: list[tuple[int, int, int, int, int]]) -> None:
    summary = toy_summary(ArmResult(rows(drawn), [toy_worker("d", "decode")]), slo=SLO)
    (entry,) = summary["arms"].values()
    of_models = sum(own["slo_attainment"] * own["window_requests"] for own in entry["models"].values())
    assert of_models == pytest.approx(entry["slo_attainment"] * entry["window_requests"])
    if entry["request_goodput"] is not None:
        assert sum(own["request_goodput"] for own in entry["models"].values()) == pytest.approx(
            entry["request_goodput"]
        )


def summary_of(slo: dict[str, Any]) -> dict[str, Any]:
    late = [(30 * i, 10, 200 if 40 <= i < 60 and i % 2 else 100, 11, 1 + i % 2) for i in range(100)]
    return toy_summary(ArmResult(rows(late), [toy_worker("d", "decode")]), slo=slo, worst_window_s=0.6)


def test_a_model_without_a_limit_meets_none_and_keeps_no_other_from_its_own() -> None:
    entry = summary_of({"models": {"m2": {"tpot_ms": 15.0}}})["arms"]["a"]
    own = entry["models"]
    assert own["m1"]["slo_attainment"] is own["m1"]["request_goodput"] is None
    assert own["m1"]["worst_window_slo_attainment"] is None
    assert own["m2"]["slo_attainment"] == 0.8
    assert own["m2"]["worst_window_slo_attainment"] == 0.5
    assert entry["slo_attainment"] == 0.9


def test_every_limit_of_every_model_is_told() -> None:
    assert limits(SLO) == "TTFT 1,000 ms, TPOT 20.0 ms; of m2 TPOT 10.0 ms; of m3 E2EL 500 ms"
    assert limits({"models": {name: {"e2el_ms": 5.0} for name in "abc"}}) == "of a, b and c E2EL 5.00 ms"
    summary = summary_of({"tpot_ms": 25.0, "models": {"m2": {"tpot_ms": 15.0}}})
    assert "; SLO TPOT 25.0 ms; of m2 TPOT 15.0 ms" in str(summary_report(summary).blocks[0])
    own = tables(summary)[-1]
    assert (own.headers, own.rows) == (("SLO met", "limits", "a"), [("m2", "TPOT 15.0 ms", "80.0 %")])
    assert len(tables(summary_of({"tpot_ms": 25.0}))) == 3


def test_end_to_end_latency_is_shown_where_it_is_limited() -> None:
    assert "E2EL p99\nms" in tables(summary_of({"models": {"m2": {"e2el_ms": 15.0}}}))[1].headers
    assert not any("E2EL" in header for header in tables(summary_of({"tpot_ms": 15.0}))[1].headers)
