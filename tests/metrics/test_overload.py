"""The overload rule on queues whose state is known."""

from __future__ import annotations

import numpy as np
import pytest

from sunsim.metrics.overload import backlog_quarters, overloaded
from sunsim.metrics.rows import Requests, Window
from tests.metrics.synthetic import table


def single_server(load: float, rate_rps: float, duration_s: float, seed: int) -> Requests:
    """Poisson arrivals at one server of constant service time (M/D/1), whose output is each first token."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate_rps, int(rate_rps * duration_s)))
    service_s = load / rate_rps
    # Lindley: departure k = service * (k + 1) + the largest (arrival - service * index) so far.
    index = np.arange(len(arrivals), dtype=np.float64)
    departures = service_s * (index + 1) + np.maximum.accumulate(arrivals - service_s * index)
    rows = {"arrival_s": arrivals, "first_token_s": departures, "last_token_s": departures}
    plain = table({"decode_worker": "d"}).loc[[0] * len(arrivals)].assign(**rows)
    return Requests.from_rows(plain)


def marked(load: float, rate_rps: float = 60.0, duration_s: float = 120.0) -> float:
    """Share of 50 runs that are marked overloaded."""
    found = []
    for seed in range(50):
        requests = single_server(load, rate_rps, duration_s, seed)
        found.append(overloaded(requests, Window(10.0, float(requests.arrival_s[-1]))))
    return float(np.mean(found))


@pytest.mark.parametrize("load", [0.5, 0.9, 0.95, 0.98])
def test_a_stable_queue_is_not_marked(load: float) -> None:
    assert marked(load) == 0.0


@pytest.mark.parametrize("load", [1.1, 1.5, 3.0])
def test_a_growing_queue_is_marked(load: float) -> None:
    assert marked(load) == 1.0


def test_a_slow_stream_at_moderate_load_is_not_marked() -> None:
    assert marked(0.7, rate_rps=2.0) == 0.0


def test_a_burst_that_was_worked_off_is_not_marked() -> None:
    arrivals = np.sort(np.concatenate([np.linspace(0, 100, 1000), np.full(500, 30.0)]))
    first = np.where((arrivals >= 30) & (arrivals < 50), arrivals + 20 * (50 - arrivals) / 20, arrivals + 0.01)
    rows = [
        {"decode_worker": "d", "arrival_s": a, "first_token_s": f, "last_token_s": f}
        for a, f in zip(arrivals, first, strict=True)
    ]
    assert not overloaded(Requests.from_rows(table(*rows)), Window(0.0, 100.0))


def test_backlog_is_what_arrived_less_what_has_its_first_token() -> None:
    rows = table(
        {"decode_worker": "d", "arrival_s": 0.0, "first_token_s": 2.0, "last_token_s": 9.0},
        {"decode_worker": "d", "arrival_s": 1.0, "first_token_s": 4.0, "last_token_s": 9.0},
        {"decode_worker": "d", "arrival_s": 3.5, "outcome": "unfinished"},
    )
    assert backlog_quarters(Requests.from_rows(rows), Window(0.0, 4.0)).tolist() == [1.0, 2.0, 1.0, 1.5]


def test_a_request_that_decode_has_not_begun_at_the_stop_is_in_the_backlog() -> None:
    waiting = {"decode_worker": "d", "arrival_s": 0.0, "first_token_s": 1.0, "outcome": "unfinished"}
    assert backlog_quarters(Requests.from_rows(table(waiting)), Window(0.0, 4.0)).tolist() == [1.0] * 4


def test_nothing_inside_the_window_is_no_overload() -> None:
    rows = table({"decode_worker": "d", "arrival_s": 0.0, "first_token_s": 2.0, "last_token_s": 9.0})
    assert not overloaded(Requests.from_rows(rows), Window(1.0, 2.0))


def test_a_growing_decode_queue_is_seen_although_prefill_emits_the_first_token() -> None:
    arrivals = np.linspace(0, 100, 1000)
    rows = [
        {
            "decode_worker": "d",
            "arrival_s": a,
            "first_token_s": a + 0.05,
            "decode_first_token_s": a + 0.1 + a / 5,
            "last_token_s": a + 1 + a / 5,
        }
        for a in arrivals
    ]
    assert overloaded(Requests.from_rows(table(*rows)), Window(0.0, 100.0))
