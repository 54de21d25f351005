"""Utilisation, batch and KV occupancy of workers, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sunsim.metrics.intervals import Level, covered_s
from sunsim.metrics.rows import Requests, Window
from sunsim.metrics.workers import worker_entry
from tests.metrics.synthetic import table, toy_worker

WINDOW = Window(0.0, 4.0)


def test_decode_worker_batch_and_busy_share() -> None:
    rows = table(
        {
            "decode_worker": "d",
            "decode_scheduled_s": 0.0,
            "first_token_s": 0.5,
            "last_token_s": 2.0,
            "output_tokens": 4,
        },
        {
            "decode_worker": "d",
            "decode_scheduled_s": 1.0,
            "first_token_s": 1.5,
            "last_token_s": 3.0,
            "output_tokens": 2,
        },
    )
    entry = worker_entry(toy_worker("d", "decode", max_num_seqs=4), Requests.from_rows(rows), WINDOW)
    assert entry["utilisation"] == 0.75
    assert entry["mean_batch"] == 1.0
    assert entry["peak_batch"] == 2.0
    assert entry["mean_batch_share"] == 0.25
    assert entry["output_throughput_window"] == 1.5


def test_a_place_is_held_from_the_start_of_the_transfer() -> None:
    rows = table(
        {"decode_worker": "d", "decode_scheduled_s": 0.0, "last_token_s": 2.0},
        {"decode_worker": "d", "transfer_start_s": 1.0, "decode_scheduled_s": 2.0, "last_token_s": 3.0},
    )
    entry = worker_entry(toy_worker("d", "decode"), Requests.from_rows(rows), WINDOW)
    assert (entry["peak_batch"], entry["peak_places"]) == (1.0, 2.0)


def test_kv_grows_evenly_from_the_prompt_to_prompt_and_output() -> None:
    stamps = {"transfer_start_s": 0.0, "decode_scheduled_s": 0.5, "decode_first_token_s": 1.0, "last_token_s": 2.0}
    rows = table({"decode_worker": "d", "prompt_tokens": 17, "output_tokens": 31, **stamps})
    worker = toy_worker("d", "decode", num_gpu_blocks=10)
    entry = worker_entry(worker, Requests.from_rows(rows), WINDOW)
    # Two blocks for one second, two to three for another: 4.5 block-seconds of 40.
    assert entry["mean_kv_occupancy"] == pytest.approx(4.5 / 40)
    assert entry["peak_kv_occupancy"] == pytest.approx(0.3)


def test_prefill_worker_is_busy_while_any_prompt_is_in_prefill_and_pins_kv_until_pulled() -> None:
    rows = table(
        {
            "prefill_worker": "p",
            "decode_worker": "d",
            "prefill_start_s": -1.0,
            "prefill_end_s": 1.0,
            "transfer_end_s": 2.0,
        },
        {
            "prefill_worker": "p",
            "decode_worker": "d",
            "prefill_start_s": 0.5,
            "prefill_end_s": 1.5,
            "transfer_end_s": 2.0,
        },
        {
            "prefill_worker": "p",
            "decode_worker": "d",
            "prefill_start_s": 3.5,
            "prefill_end_s": 4.5,
            "transfer_end_s": 5.0,
        },
    )
    entry = worker_entry(toy_worker("p", "prefill", num_gpu_blocks=2), Requests.from_rows(rows), WINDOW)
    assert entry["utilisation"] == 0.5
    assert entry["mean_kv_occupancy"] == pytest.approx((2.0 + 1.5 + 0.5) / 8)
    assert entry["peak_kv_occupancy"] == 1.0


def test_an_idle_worker_is_at_zero() -> None:
    nothing = Requests.from_rows(table({"decode_worker": "d"})).where(np.array([False]))
    entry = worker_entry(toy_worker("d", "decode"), nothing, WINDOW)
    assert (entry["utilisation"], entry["mean_batch"], entry["peak_kv_occupancy"]) == (0.0, 0.0, 0.0)


def test_an_interval_without_an_end_lasts_to_the_end_of_the_window() -> None:
    assert covered_s(np.array([1.0, np.nan]), np.array([np.nan, np.nan]), WINDOW) == 3.0


def test_a_level_agrees_with_sampling_it() -> None:
    rng = np.random.default_rng(1)
    start = rng.uniform(-5, 5, 200)
    grow = start + rng.uniform(0, 1, 200)
    end = grow + rng.uniform(0.1, 3, 200)
    low = rng.uniform(0, 5, 200)
    high = low + rng.uniform(0, 5, 200)
    level = Level.of(start, grow, end, low, high)
    times = np.linspace(0, 4, 40_001)[:, None]
    held = np.where(
        (times >= start) & (times < end), low + (high - low) * np.clip((times - grow) / (end - grow), 0, 1), 0
    )
    total = held.sum(axis=1)
    assert level.mean(WINDOW) == pytest.approx(total.mean(), rel=1e-3)
    assert level.peak(WINDOW) == pytest.approx(total.max(), rel=1e-3)
    assert level.peak(WINDOW) >= total.max() - 1e-9


def test_a_prompt_that_is_never_pulled_holds_its_kv_only_for_its_prefill() -> None:
    pulled = {"decode_worker": "d", "prefill_start_s": 0.0, "prefill_end_s": 1.0, "transfer_end_s": 2.0}
    rows = table(
        {"prefill_worker": "p", **pulled},
        {"prefill_worker": "p", "prefill_start_s": 1.0, "prefill_end_s": 2.0},
    )
    entry = worker_entry(toy_worker("p", "prefill", num_gpu_blocks=2), Requests.from_rows(rows), WINDOW)
    assert entry["mean_kv_occupancy"] == pytest.approx((2.0 + 1.0) / 8)


def test_kv_occupancy_is_unknown_where_requests_were_preempted() -> None:
    rows = table({"decode_worker": "d", "decode_scheduled_s": 0.0, "decode_first_token_s": 1.0, "last_token_s": 2.0})
    entry = worker_entry(toy_worker("d", "decode", preemptions=1), Requests.from_rows(rows), WINDOW)
    assert entry["mean_kv_occupancy"] is None
    assert entry["peak_kv_occupancy"] is None


def test_prefill_is_at_least_as_busy_as_its_steps_when_decode_sent_requests_back() -> None:
    rows = Requests.from_rows(table({"prefill_worker": "p", "prefill_start_s": 0.0, "prefill_end_s": 1.0}))
    worker = toy_worker("p", "prefill", busy_s=9.0)
    assert worker_entry(worker, rows, WINDOW)["utilisation"] == 0.25
    assert worker_entry(worker, rows, WINDOW, sent_back_in_s=10.0)["utilisation"] == 0.9
