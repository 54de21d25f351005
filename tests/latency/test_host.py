"""Launches, leads and stalls of the host, from what a profile recorded."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sunsim.errors import InputError
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from tests.synthetic import synthetic_profile

MS = 10**9
S = 10**12


def idle_start(chunk_tokens: int, launch_ms: float, step_ms: float, lengths: str = "uniform") -> dict[str, Any]:
    decodes = not chunk_tokens
    spread = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")
    point = {"chunk_tokens": chunk_tokens, "batch": int(decodes), "context_tokens": 1024 * decodes}
    return point | {"lengths": lengths, "launch_ms_mean": launch_ms, "steps": 8} | dict.fromkeys(spread, step_ms)


def load(path: Path, **changes: Any) -> LatencyModel:
    (path / "profile.json").write_text(json.dumps(synthetic_profile(**changes)))
    return LatencyModel(load_profile(path / "profile.json"))


def test_without_idle_starts_the_host_takes_no_time(tmp_path: Path) -> None:
    times = load(tmp_path)

    assert [times.launch_ps(tokens, 0) for tokens in (0, 100, 5000)] == [0, 0, 0]
    assert [times.lead_ps(tokens) for tokens in (0, 100, 5000)] == [0, 0, 0]
    assert [times.tail_ps(5000), times.pause_ps] == [0, 0]
    assert list(times.stalls(0.3)) == []


def test_graphs_are_launched_by_their_tokens_and_longer_steps_all_alike(tmp_path: Path) -> None:
    starts = [idle_start(0, 3, 9), idle_start(100, 10, 12), idle_start(200, 12, 14)]
    times = load(tmp_path, idle_starts=[*starts, idle_start(1024, 20, 30), idle_start(4096, 30, 99)])

    assert times.launch_ps(0, 0) == 3 * MS
    assert times.launch_ps(150, 0) == 11 * MS
    assert times.launch_ps(256, 0) == 12 * MS
    assert times.launch_ps(257, 0) == times.launch_ps(8192, 0) == 25 * MS


def test_launches_that_serving_sees_count_before_those_of_the_same_prompt_over_and_over(tmp_path: Path) -> None:
    served = [idle_start(120, 14, 16, "traffic"), idle_start(1500, 33, 40, "traffic")]
    times = load(
        tmp_path, idle_starts=[idle_start(0, 3, 9), idle_start(100, 10, 12), idle_start(1024, 20, 30), *served]
    )

    assert [times.launch_ps(tokens, 0) for tokens in (0, 100, 1024)] == [3 * MS, 14 * MS, 33 * MS]


def test_single_launches_are_the_recorded_ones_in_turn_with_the_mean_of_their_kind(tmp_path: Path) -> None:
    even = [idle_start(0, 3, 9), idle_start(100, 10, 12), idle_start(1024, 20, 30)]
    graph = idle_start(200, 15, 17, "traffic") | {"launch_ms": [12.0, 18.0]}
    eager = [idle_start(tokens, ms, 40, "traffic") for tokens, ms in ((1000, 20), (3000, 30))]
    times = load(
        tmp_path,
        idle_starts=[*even, graph, eager[0] | {"launch_ms": [16.0, 24.0]}, eager[1] | {"launch_ms": [27.0, 33.0]}],
    )

    # Captured graphs are launched at once, so that single launches tell of what else went on.
    assert [times.launch_ps(tokens, 5) for tokens in (0, 200)] == [3 * MS, 15 * MS]
    assert [times.launch_ps(2000, nth) for nth in range(5)] == [20 * MS, 30 * MS, 22.5 * MS, 27.5 * MS, 20 * MS]


def test_the_tail_is_what_follows_a_launch_that_the_gpu_kept_up_with(tmp_path: Path) -> None:
    waited = [idle_start(0, 3, 3.2), idle_start(4096, 20, 99)]
    times = load(tmp_path, idle_starts=[*waited, *(idle_start(64, 10, ms) for ms in (10.5, 11.5, 11.9))])

    assert times.tail_ps(64) == times.tail_ps(4096) == pytest.approx(1.5 * MS)
    assert times.tail_ps(0) == 0


def test_the_pause_is_vllms_sleep_until_one_is_measured(tmp_path: Path) -> None:
    starts = [idle_start(64, 10, 11)]

    assert load(tmp_path).pause_ps == 0
    assert load(tmp_path, idle_starts=starts).pause_ps == MS
    assert load(tmp_path, idle_starts=starts, pauses=[{"pause_ms_median": 1.75}]).pause_ps == 1.75 * MS


def test_the_lead_is_what_an_idle_start_adds_where_the_gpu_waited_for_it(tmp_path: Path) -> None:
    decode_ms = 7 + 0.02 + 4e-5 * 1024
    prefill_ms = 8 + 0.02 * 4096 + 8e-7 * 4096 * 4097 / 2
    waited = [idle_start(0, 3, decode_ms + 2.5), idle_start(4096, 20, prefill_ms + 1.5)]
    launched = idle_start(1024, 60, 61)  # took as long as its launch: says nothing of the lead
    times = load(tmp_path, idle_starts=[*waited, launched])

    assert times.lead_ps(0) == pytest.approx(2.5 * MS, rel=1e-3)
    assert times.lead_ps(1024) == pytest.approx(1.5 * MS, rel=1e-3)


def test_stalls_are_the_recorded_ones_over_and_over_from_any_moment(tmp_path: Path) -> None:
    records = [{"observed_s": 10, "stalls": [[2, 5.0], [9, 7.0]]}, {"observed_s": 6, "stalls": [[1, 3.0]]}]
    times = load(tmp_path, host_stalls=records)

    assert list(islice(times.stalls(0.0), 5)) == [
        (2 * S, 5 * MS),
        (9 * S, 7 * MS),
        (11 * S, 3 * MS),
        (18 * S, 5 * MS),
        (25 * S, 7 * MS),
    ]
    assert list(islice(times.stalls(0.5), 3)) == [(1 * S, 7 * MS), (3 * S, 3 * MS), (10 * S, 5 * MS)]


def test_stalls_longer_than_what_was_observed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than half"):
        load(tmp_path, host_stalls=[{"observed_s": 1, "stalls": [[0.1, 600.0]]}])
