"""The limiting stage, for arms whose bottleneck is known."""

from __future__ import annotations

from typing import Any

import pytest

from sunsim.metrics.limits import limiting_stage, mean_times_ms, prefill_headroom
from sunsim.metrics.rows import Requests
from sunsim.records import ArmResult
from tests.metrics.synthetic import table, toy_summary, toy_worker


def prefill(utilisation: float) -> dict[str, Any]:
    return {"stage": "prefill", "utilisation": utilisation}


def decode(batch: float, *, peak_kv: float = 0.3) -> dict[str, Any]:
    return {
        "stage": "decode",
        "mean_batch": batch,
        "peak_batch": batch,
        "peak_places": batch,
        "max_num_seqs": 256,
        "peak_kv_occupancy": peak_kv,
        "preemptions": 0,
    }


def waits(queue_s: float = 0.0, pull_s: float = 0.0, transfer_s: float = 0.0, decode_s: float = 0.0) -> Requests:
    """One request that waits so long before each stage."""
    pulled = queue_s + 0.02 + pull_s
    there = pulled + transfer_s
    stamps = {
        "arrival_s": 0.0,
        "prefill_start_s": queue_s,
        "prefill_end_s": queue_s + 0.02,
        "transfer_start_s": pulled,
        "transfer_end_s": there,
        "decode_scheduled_s": there + decode_s,
        "last_token_s": 100.0,
    }
    return Requests.from_rows(table({"prefill_worker": "p", "decode_worker": "d", **stamps}))


def limit(p: dict[str, Any], d: dict[str, Any], requests: Requests) -> tuple[str, str | None]:
    found = limiting_stage({"p": p, "d": d}, dict.fromkeys("pd", mean_times_ms(requests)))
    return found["stage"], found["worker"]


def test_small_waits_limit_nothing() -> None:
    assert limit(prefill(0.5), decode(40), waits(0.05, 0.01, 0.02, 0.01)) == ("none", None)


def test_a_busy_prefill_worker_with_a_queue_limits() -> None:
    assert limit(prefill(0.97), decode(40), waits(queue_s=2.0)) == ("prefill", "p")


def test_a_wait_for_a_decode_worker_with_places_left_and_unknown_blocks_is_decode() -> None:
    caching = {"peak_kv_occupancy": None}
    assert limit(prefill(0.5), decode(90) | caching, waits(pull_s=2.0)) == ("decode", "d")
    in_transfer = caching | {"peak_places": 256}
    assert limit(prefill(0.5), decode(90) | in_transfer, waits(pull_s=2.0)) == ("transfer", "d")


def test_a_wait_for_a_full_decode_worker_is_decode() -> None:
    assert limit(prefill(0.5), decode(256), waits(pull_s=2.0)) == ("decode", "d")


def test_a_wait_for_kv_blocks_is_decode() -> None:
    assert limit(prefill(0.5), decode(90, peak_kv=0.99), waits(pull_s=2.0)) == ("decode", "d")


def test_a_wait_for_a_worker_that_preempted_is_decode() -> None:
    preempted = decode(90) | {"preemptions": 1, "peak_kv_occupancy": None}
    assert limit(prefill(0.5), preempted, waits(pull_s=2.0)) == ("decode", "d")


def test_a_wait_for_the_link_is_transfer() -> None:
    assert limit(prefill(0.5), decode(40), waits(pull_s=2.0)) == ("transfer", "d")
    assert limit(prefill(0.5), decode(40), waits(transfer_s=2.0)) == ("transfer", "d")


def test_a_queue_before_idle_prefill_behind_full_decode_is_decode() -> None:
    assert limit(prefill(0.4), decode(256), waits(queue_s=5.0, pull_s=1.0)) == ("decode", "d")


@pytest.mark.parametrize(("pull_s", "stage"), [(0.09, "prefill"), (0.11, "decode")])
def test_a_full_decode_worker_that_pulls_at_once_holds_no_prefill_up(pull_s: float, stage: str) -> None:
    """A queue of 5 s, as bursts leave it: decode has to do with it only where it leaves KV on the prefill worker."""
    assert limit(prefill(0.4), decode(256), waits(queue_s=5.0, pull_s=pull_s))[0] == stage


def test_a_burst_before_prefill_is_prefill_though_what_converts_fills_decode() -> None:
    """Fifty prompts of a second each come at once, and four more at once with them, whole, to a decode worker of four places.

    The i-th prompt waits i seconds, 24.5 s in the mean. The four begin at once and hold all places until the last prompt
    comes to decode; each KV is there 10 ms after its prefill. Prefill is busy for 50 s of 100.
    """
    through = [
        {
            "prefill_worker": "prefill/shared/0",
            "decode_worker": "decode/shared/1",
            "prefill_start_s": float(i),
            "prefill_end_s": i + 1.0,
            "transfer_start_s": i + 1.0,
            "transfer_end_s": i + 1.01,
            "decode_scheduled_s": i + 1.01,
            "last_token_s": i + 1.5,
        }
        for i in range(50)
    ]
    converted = [{"decode_worker": "decode/shared/0", "decode_scheduled_s": 0.0, "last_token_s": 50.0}] * 4
    late = {"arrival_s": 100.0, "decode_worker": "decode/shared/1", "decode_scheduled_s": 100.0, "last_token_s": 100.5}
    rows = table(*({"arrival_s": 0.0} | each for each in (*through, *converted)), late)
    workers = [toy_worker("prefill/shared/0", "prefill")]
    workers += [toy_worker(f"decode/shared/{i}", "decode", max_num_seqs=4) for i in range(2)]
    entry = toy_summary(ArmResult(rows, workers))["arms"]["a"]
    assert entry["workers"]["decode/shared/0"]["peak_places"] == 4
    assert entry["workers"]["prefill/shared/0"]["utilisation"] == pytest.approx(0.5)
    assert entry["limiting"] == {
        "stage": "prefill",
        "worker": "prefill/shared/0",
        "mean_wait_ms": pytest.approx(24_500),
    }


def test_headroom_names_workers_above_seventy_percent() -> None:
    found = prefill_headroom({"a": prefill(0.71), "b": prefill(0.70), "c": prefill(0.9), "d": decode(1)})
    assert found == {"hottest_worker": "c", "utilisation": 0.9, "above_70_percent": ["a", "c"]}


def test_no_prefill_no_headroom() -> None:
    assert prefill_headroom({"d": decode(1)}) is None
