"""What users got, worked out by hand for three requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sunsim.metrics.rows import Requests, Window
from sunsim.metrics.serving import serving, stage_times_s, statistics, tokens_inside
from sunsim.metrics.slo import meets_slo
from tests.metrics.synthetic import table

WINDOW = Window(1.0, 3.0)


def request(**values: Any) -> dict[str, Any]:
    """A request of a decode-only arm."""
    return {"decode_worker": "decode/shared/0", **values}


THREE = (
    request(arrival_s=0.0, first_token_s=0.5, last_token_s=4.5, output_tokens=5, prompt_tokens=10),
    request(arrival_s=1.0, first_token_s=1.5, last_token_s=2.5, output_tokens=3, prompt_tokens=20),
    request(arrival_s=3.0, first_token_s=4.0, last_token_s=4.0, output_tokens=1, prompt_tokens=30),
)


def three(slo: dict[str, float] | None = None) -> dict[str, float | None]:
    return serving(Requests.from_rows(table(*THREE)), WINDOW, slo or {}, duration_s=4.5)


def test_counts_cover_the_whole_run() -> None:
    entry = three()
    assert entry["requests"] == entry["completed"] == 3
    assert entry["unfinished"] == 0
    assert entry["total_input_tokens"] == 60
    assert entry["total_output_tokens"] == 9
    assert entry["output_throughput"] == 2.0
    assert entry["request_throughput"] == pytest.approx(3 / 4.5)
    assert entry["total_token_throughput"] == pytest.approx(69 / 4.5)


def test_headline_throughput_counts_tokens_inside_the_window() -> None:
    # Of the first request the tokens at 1.5 and 2.5, all three of the second, none of the third.
    assert tokens_inside(Requests.from_rows(table(*THREE)), WINDOW).tolist() == [2, 3, 0]
    assert three()["output_throughput_window"] == 2.5


def test_a_token_at_the_start_of_the_window_counts_and_one_at_its_end_does_not() -> None:
    rows = table(request(arrival_s=0.0, first_token_s=1.0, last_token_s=3.0, output_tokens=3))
    assert tokens_inside(Requests.from_rows(rows), WINDOW).tolist() == [2]


def test_latencies_are_of_requests_that_arrived_inside_both_edges_included() -> None:
    entry = three()
    assert entry["window_requests"] == 2
    assert [entry[f"{name}_ttft_ms"] for name in ("mean", "median", "std", "p99")] == [750, 750, 250, 995]
    assert entry["mean_e2el_ms"] == 1250
    assert entry["p90_e2el_ms"] == 1450


def test_one_token_outputs_have_no_tpot() -> None:
    entry = three()
    assert entry["mean_tpot_ms"] == entry["p99_tpot_ms"] == 500
    assert entry["mean_interactivity"] == entry["median_interactivity"] == 2.0


@pytest.mark.parametrize(
    ("slo", "goodput", "share"),
    [
        ({"ttft_ms": 600, "tpot_ms": 500}, 0.5, 0.5),
        ({"ttft_ms": 1000, "tpot_ms": 500}, 0.5, 1.0),
        ({"tpot_ms": 499}, 0.0, 0.5),
        ({}, None, None),
    ],
)
def test_goodput_counts_requests_completed_inside_and_attainment_those_that_arrived(
    slo: dict[str, float], goodput: float | None, share: float | None
) -> None:
    entry = three(slo)
    assert entry["request_goodput"] == goodput
    assert entry["slo_attainment"] == share


@pytest.mark.parametrize("tenths", range(1, 80, 3))
def test_a_limit_that_is_just_met_is_met_whenever_that_is(tenths: int) -> None:
    """Half a second from 0.6 s to 1.1 s is a little more than half a second in floats."""
    arrival_s, first_s, last_s = tenths / 10, (tenths + 5) / 10, (tenths + 9) / 10
    rows = table(request(arrival_s=arrival_s, first_token_s=first_s, last_token_s=last_s, output_tokens=5))
    requests = Requests.from_rows(rows)
    assert meets_slo(requests, {"ttft_ms": 500, "tpot_ms": 100}).all()
    assert not meets_slo(requests, {"ttft_ms": 499.999999}).any()
    assert not meets_slo(requests, {"tpot_ms": 99.999999}).any()


def test_stage_times_are_differences_of_stamps() -> None:
    stamps = {
        "prefill_start_s": 1.25,
        "prefill_end_s": 1.5,
        "transfer_start_s": 1.75,
        "transfer_end_s": 1.875,
        "decode_scheduled_s": 2.0,
    }
    rows = table(request(arrival_s=1.0, first_token_s=2.25, last_token_s=2.5, output_tokens=2, **stamps))
    entry = serving(Requests.from_rows(rows), WINDOW, {}, 2.0)
    stages = ("prefill_queue", "prefill", "transfer_wait", "transfer", "decode_wait")
    assert [entry[f"mean_{stage}_ms"] for stage in stages] == [250, 250, 250, 125, 125]


def test_where_nothing_is_moved_decode_wait_starts_when_prefill_ends() -> None:
    stamps = {"arrival_s": 0.0, "prefill_start_s": 1.0, "prefill_end_s": 2.0, "decode_scheduled_s": 2.5}
    rows = table({**stamps, "decode_worker": "d", "first_token_s": 3.0, "last_token_s": 3.0})
    assert stage_times_s(Requests.from_rows(rows))["decode_wait"].tolist() == [0.5]


def test_without_prefill_decode_wait_starts_at_arrival() -> None:
    rows = table(request(arrival_s=1.0, decode_scheduled_s=1.5, first_token_s=2.0, last_token_s=2.0))
    entry = serving(Requests.from_rows(rows), WINDOW, {}, 2.0)
    assert entry["mean_decode_wait_ms"] == 500
    assert entry["mean_prefill_queue_ms"] is None


def test_unfinished_requests_count_but_have_no_latency_and_meet_no_slo() -> None:
    rows = table(
        request(arrival_s=1.0, first_token_s=1.0, last_token_s=2.0, output_tokens=3),
        request(arrival_s=1.0, first_token_s=2.0, output_tokens=100, outcome="unfinished"),
        request(arrival_s=2.0, output_tokens=100, outcome="unfinished"),
    )
    entry = serving(Requests.from_rows(rows), WINDOW, {"ttft_ms": 2000}, 2.0)
    assert (entry["completed"], entry["unfinished"]) == (1, 2)
    assert entry["mean_ttft_ms"] == 0.0
    assert entry["slo_attainment"] == pytest.approx(1 / 3)
    # The one cut off emits from 2.0 on at the median TPOT of the others, half a second.
    assert entry["output_throughput_window"] == (3 + 2) / 2


def test_throughput_is_not_guessed_where_nothing_tells_a_pace() -> None:
    cut_off = request(arrival_s=1.0, first_token_s=2.0, output_tokens=100, outcome="unfinished")
    one_token = request(arrival_s=1.0, first_token_s=1.5, last_token_s=1.5)
    entry = serving(Requests.from_rows(table(cut_off, one_token)), WINDOW, {}, 2.0)
    assert entry["output_throughput_window"] is None
    nothing_out = request(arrival_s=1.0, output_tokens=100, outcome="unfinished")
    entry = serving(Requests.from_rows(table(nothing_out, one_token)), WINDOW, {}, 2.0)
    assert entry["output_throughput_window"] == 0.5


def test_in_an_arm_without_decode_a_request_emits_one_token() -> None:
    rows = table(
        {
            "prefill_worker": "prefill/m1/0",
            "arrival_s": 1.0,
            "prefill_start_s": 1.0,
            "prefill_end_s": 1.5,
            "first_token_s": 1.5,
            "last_token_s": 1.5,
            "output_tokens": 200,
        }
    )
    entry = serving(Requests.from_rows(rows), WINDOW, {}, 1.0)
    assert entry["total_output_tokens"] == 1
    assert entry["output_throughput_window"] == 0.5
    assert entry["mean_tpot_ms"] is None


def test_no_sample_is_none_not_zero() -> None:
    assert set(statistics(np.array([np.nan])).values()) == {None}


def test_quantiles_are_linear_between_samples() -> None:
    assert statistics(np.array([4.0, 2.0, 1.0, 3.0]))["p99"] == pytest.approx(3.97)


def test_an_empty_window_has_no_rates() -> None:
    entry = serving(Requests.from_rows(table(*THREE)), Window(3.0, 3.0), {"ttft_ms": 2000}, 4.5)
    assert entry["output_throughput_window"] is None
    assert entry["request_goodput"] is None


def test_nothing_is_emitted_while_a_request_waits_for_decode_after_prefills_token() -> None:
    waits = {"decode_worker": "d", "arrival_s": 0.0, "first_token_s": 1.0, "decode_first_token_s": 11.0}
    requests = Requests.from_rows(table({**waits, "last_token_s": 13.0, "output_tokens": 4}))
    assert [tokens_inside(requests, Window(low, low + 5.0)).sum() for low in (0.0, 5.0, 10.0)] == [1.0, 0.0, 3.0]
