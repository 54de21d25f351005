"""What pools hold over time: closed forms of steps, and what an elastic pool changes in a summary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.metrics import REGISTRY, to_json
from sunsim.metrics.admission import add_shed
from sunsim.metrics.held import STATES, Held
from sunsim.metrics.pools import add_pools
from sunsim.metrics.rows import Window
from sunsim.records import SIZE_COLUMNS, ArmResult
from tests.metrics.synthetic import sizes, table, toy_summary, toy_worker

GROWS = sizes((0, 1, 0, 0, 0), (10, 1, 2, 0, 0), (14, 3, 0, 0, 0), (30, 2, 0, 1, 0), (35, 2, 0, 0, 0))
"""One worker; two more ordered at 10 s serve from 14 s on; one told to go at 30 s is off at 35 s."""


def request(at_s: float, worker: str, **stamps: Any) -> dict[str, Any]:
    """A request of ten tokens, decoded from a second after its arrival on for two seconds, or as `stamps` say."""
    times = {"decode_scheduled_s": at_s + 1, "decode_first_token_s": at_s + 1.5, "last_token_s": at_s + 3}
    plain = {"arrival_s": at_s, "decode_worker": worker, "first_token_s": at_s + 1.5, "output_tokens": 10, **times}
    return plain | stamps


def elastic(name: str = "elastic", frame: pd.DataFrame = GROWS, gpus: int = 2) -> ArmResult:
    """Requests at 0, 10, 20, 30 and 40 s, to a pool of up to four workers."""
    rows = table(*(request(10.0 * i, "decode/shared/0") for i in range(5)), arm=name)
    workers = [toy_worker(f"decode/shared/{i}", "decode", gpus=gpus, max_num_seqs=10) for i in range(4)]
    return ArmResult(rows, workers, frame)


def fixed(name: str = "fixed", gpus: int = 2) -> ArmResult:
    """The same requests, and as many workers as the other may have."""
    return ArmResult(elastic(name).rows, elastic(gpus=gpus).workers)


def summary_of(*arms: ArmResult, **options: Any) -> dict[str, Any]:
    """With what pools held."""
    summary = toy_summary(*arms, **options)
    add_pools(summary, arms)
    return summary


def test_steps_are_integrated_to_the_edges_of_the_window() -> None:
    """From 5 s to 40 s: 5 s of 1, 20 s of 3 and 10 s of 3, 2: (5 + 20 x 3 + 5 x 3 + 5 x 2) / 35 workers of two GPUs."""
    entry = summary_of(elastic(), fixed(), warmup_s=5.0)["arms"]["elastic"]
    gpu_s = 2 * (5 * 1 + 4 * 3 + 16 * 3 + 5 * 3 + 5 * 2)
    assert entry["gpu_hours"] == pytest.approx(gpu_s / 3600)
    assert entry["gpus"] == entry["decode_gpus"] == entry["mean_gpus"] == pytest.approx(gpu_s / 35)
    assert entry["peak_gpus"] == 6
    assert entry["starting_share"] == pytest.approx(2 * 4 * 2 / gpu_s)
    assert entry["draining_share"] == pytest.approx(2 * 5 / gpu_s)
    assert entry["warm_share"] == 0.0
    pool = entry["pools"]["decode"]
    assert (pool["elastic"], pool["grown"], pool["shrunk"]) == (True, 1, 1)
    assert list(entry["pools"]) == ["decode"]


def test_figures_are_per_gpu_that_is_paid_for() -> None:
    summary = summary_of(elastic(), fixed())
    own, other = summary["arms"]["elastic"], summary["arms"]["fixed"]
    assert own["output_throughput_window"] == other["output_throughput_window"]
    for tag, gpus in (("output_throughput_per_gpu", "gpus"), ("output_throughput_per_decode_gpu", "decode_gpus")):
        assert own[tag] * own[gpus] == pytest.approx(own["output_throughput_window"])
    # Four workers of two GPUs, one of them with a request for 2 of every 10 s.
    assert other["pools"]["decode"]["utilisation"] == pytest.approx(0.2 * 2 / 8)
    assert own["pools"]["decode"]["utilisation"] == pytest.approx(0.2 * 2 / own["mean_gpus"])
    assert own["mean_decode_batch_share"] == pytest.approx(0.2 / 10 * 2 / own["decode_gpus"])


def test_a_fixed_arm_beside_an_elastic_one_has_the_same_figures() -> None:
    entry = summary_of(elastic(), fixed(), warmup_s=4.0)["arms"]["fixed"]
    assert (entry["gpus"], entry["mean_gpus"], entry["peak_gpus"]) == (8, 8.0, 8.0)
    assert entry["gpu_hours"] == pytest.approx(8 * 36 / 3600)
    pool = entry["pools"]["decode"]
    assert (pool["elastic"], pool["grown"], pool["shrunk"], pool["mean_wait_while_starting_ms"]) == (False, 0, 0, 0.0)


def test_where_all_pools_are_fixed_nothing_is_added() -> None:
    assert summary_of(fixed()) == toy_summary(fixed())


def test_every_key_is_declared() -> None:
    for arm in summary_of(elastic(), fixed())["arms"].values():
        assert set(arm) <= set(REGISTRY)
        for entry in arm["pools"].values():
            assert set(entry) <= set(REGISTRY)


def test_pools_of_models_add_up_to_their_stage() -> None:
    """One grows when the other shrinks: the stage holds as many as before, and both moves count."""
    frames = [
        sizes((0, 3, 0, 0, 0), (20, 1, 0, 2, 0), (22, 1, 0, 0, 0), model="m1"),
        sizes((0, 1, 0, 0, 0), (20, 1, 2, 0, 0), (25, 3, 0, 0, 0), model="m2"),
    ]
    rows = table(*(request(10.0 * i, f"decode/m{i % 2 + 1}/0", model=f"m{i % 2 + 1}") for i in range(5)))
    workers = [toy_worker(f"decode/m{m}/{i}", "decode", f"m{m}") for m in (1, 2) for i in range(3)]
    prefill = [toy_worker("prefill/shared/0", "prefill", gpus=4)]
    entry = summary_of(ArmResult(rows, prefill + workers, pd.concat(frames)))["arms"]["a"]
    pools = entry["pools"]
    assert list(pools) == ["prefill", "decode", "decode/m1", "decode/m2"]
    for tag in ("gpu_hours", "mean_gpus", "grown", "shrunk"):
        assert pools["decode"][tag] == pytest.approx(pools["decode/m1"][tag] + pools["decode/m2"][tag])
    assert (pools["decode/m1"]["peak_gpus"], pools["decode/m2"]["peak_gpus"], pools["decode"]["peak_gpus"]) == (3, 3, 6)
    assert entry["mean_gpus"] == pytest.approx(4 + pools["decode"]["mean_gpus"])
    assert (pools["prefill"]["elastic"], pools["decode"]["elastic"], pools["decode/m1"]["model"]) == (False, True, "m1")


def test_the_wait_while_a_worker_starts() -> None:
    """Workers start from 10 s to 14 s; of the waits of 9, 6 and 2 s, 2, 4 and 0 s lie in that."""
    rows = table(
        request(3.0, "d", decode_scheduled_s=12.0),
        request(9.0, "d", decode_scheduled_s=15.0),
        request(20.0, "d", decode_scheduled_s=22.0),
        request(40.0, "d", decode_scheduled_s=None, outcome="unfinished"),
    )
    arm = ArmResult(rows, [toy_worker("d", "decode")], GROWS)
    assert summary_of(arm)["arms"]["a"]["pools"]["decode"]["mean_wait_while_starting_ms"] == pytest.approx(2000)


def test_the_wait_for_decode_begins_when_prefill_ends() -> None:
    stamps = {"prefill_worker": "p", "prefill_start_s": 11.0, "prefill_end_s": 13.0}
    row = request(9.0, "d", decode_scheduled_s=16.0, transfer_start_s=13.5, transfer_end_s=15.0) | stamps
    workers = [toy_worker("p", "prefill"), toy_worker("d", "decode")]
    both = pd.concat([GROWS, GROWS.assign(stage="prefill")])
    pools = summary_of(ArmResult(table(row, row), workers, both))["arms"]["a"]["pools"]
    assert pools["prefill"]["mean_wait_while_starting_ms"] == pytest.approx(1000)
    assert pools["decode"]["mean_wait_while_starting_ms"] == pytest.approx(500)


def test_an_empty_window_has_the_size_of_its_moment() -> None:
    rows = table(request(12.0, "decode/shared/0"), arm="elastic")
    arm = ArmResult(rows, elastic().workers, GROWS)
    entry = summary_of(arm, warmup_s=12.0)["arms"]["elastic"]
    assert (entry["gpus"], entry["peak_gpus"], entry["gpu_hours"]) == (6.0, 6.0, 0.0)
    assert "NaN" not in to_json({"arms": entry})


def test_colocated_workers_count_as_decode() -> None:
    colocated = elastic(frame=GROWS.assign(stage="colocated"))
    workers = [toy_worker(worker.name, "colocated", gpus=2) for worker in colocated.workers]
    pools = summary_of(ArmResult(colocated.rows, workers, colocated.sizes))["arms"]["elastic"]["pools"]
    assert (list(pools), pools["decode"]["elastic"]) == (["decode"], True)


def test_replacing_a_warm_worker_is_one_growth() -> None:
    """A warm one serves at 10 s, another is ordered in its place, and is warm at 14 s; at 30 s one goes, to be off."""
    frame = sizes((0, 1, 0, 0, 1), (10, 2, 1, 0, 0), (14, 2, 0, 0, 1), (30, 1, 0, 1, 1), (31, 1, 0, 0, 1))
    pool = summary_of(elastic(frame=frame))["arms"]["elastic"]["pools"]["decode"]
    assert (pool["grown"], pool["shrunk"]) == (1, 1)
    assert pool["warm_share"] == pytest.approx((40 - 4) / (10 * 2 + 4 * 3 + 16 * 3 + 1 * 3 + 9 * 2))


def test_a_worker_that_drains_into_the_reserve_is_not_added() -> None:
    frame = sizes((0, 2, 0, 0, 0), (10, 1, 0, 1, 0), (12, 1, 0, 0, 1), (20, 2, 0, 0, 0))
    pool = summary_of(elastic(frame=frame))["arms"]["elastic"]["pools"]["decode"]
    assert (pool["grown"], pool["shrunk"]) == (1, 1)


counts = st.integers(0, 9)


@given(
    st.lists(st.tuples(st.integers(0, 50), counts, counts, counts, counts), min_size=1, max_size=8),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_means_and_peaks_are_those_of_every_second(
    rows: list[tuple[int, int, int, int, int]], start: int, length: int
) -> None:
    """Steps at whole seconds: what holds in the middle of each second tells it all."""
    ordered = sorted([(0, 1, 0, 0, 0), *rows], key=lambda row: row[0])
    held = Held.of_sizes(sizes(*ordered), gpus=2)
    window = Window(float(start), float(start + length))
    seconds = range(start, start + length) if length else [start]
    inside = np.array([next(row[1:] for row in reversed(ordered) if row[0] <= second) for second in seconds])
    assert held.mean(window).tolist() == pytest.approx((2 * inside.mean(axis=0)).tolist())
    assert held.peak(window) == 2 * inside.sum(axis=1).max()
    assert len(STATES) == inside.shape[1]


def test_what_was_shed_is_missed_and_neither_unfinished_nor_waiting() -> None:
    """Of 40 requests, one a second, every second one is refused; the others take three seconds."""
    shed = {"outcome": "shed", **dict.fromkeys(("decode_scheduled_s", "first_token_s", "last_token_s"), None)}
    shed |= {"decode_first_token_s": None, "decode_worker": None}
    rows = table(*(request(float(i), "d") | (shed if i % 2 else {}) for i in range(40)))
    arm = ArmResult(rows, [toy_worker("d", "decode")])
    summary = toy_summary(arm, slo={"ttft_ms": 2000.0}, stop_s=100.0)
    add_shed(summary, [arm])
    entry = summary["arms"]["a"]
    assert (entry["requests"], entry["completed"], entry["unfinished"], entry["shed"]) == (40, 20, 0, 20)
    assert entry["slo_attainment"] == 0.5
    assert entry["p99_ttft_ms"] == pytest.approx(1500)
    assert entry["overloaded"] is False
    assert entry["duration"] == 41.0
    assert entry["models"]["m1"]["shed"] == 20
    assert "shed" in REGISTRY


def test_columns_of_sizes_are_what_the_figures_read() -> None:
    assert [column.name for column in SIZE_COLUMNS] == list(GROWS.columns)
    json.dumps(summary_of(elastic()), allow_nan=False)
