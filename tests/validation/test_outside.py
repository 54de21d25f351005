"""What others have measured, and the table that shows it beside its simulation."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sunsim
from docs.blocks import PLACES, block
from docs.fidelity_tables import WIDTH
from docs.outside import (
    CACHE_TOKENS,
    POINTS,
    Compared,
    Figures,
    Point,
    compare,
    known_share,
    median_itl_ms,
    outside,
    outside_text,
    read_points,
    scenario_of,
    stepped,
)
from tests.cluster.worlds import write_profile

POINT = Point("short", 100, 20, 4, 10, Figures(100.0, 10.0, 50.0))


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return read_points()


def test_every_row_of_the_run_is_read(points: list[Point]) -> None:
    assert len(points) == 55
    assert points[0] == Point("chat-128-128", 128, 128, 1, 50, Figures(145.32, 6.826, 14.23))
    for first, second in pairwise(points):
        assert first.workload != second.workload or first.concurrency < second.concurrency


def test_units_are_as_they_say(points: list[Point]) -> None:
    for point in points:
        prompt, output = map(int, point.workload.split("-")[1:])
        assert (point.input_len, point.output_len) == (prompt, output)
        assert point.num_prompts >= point.concurrency
        # A client has no more than a token a gap, and waits for the first one.
        assert point.actual.output_throughput < point.concurrency * 1000 / point.actual.itl_median_ms
        assert point.actual.ttft_p95_ms > point.actual.itl_median_ms


def test_source_and_licence_go_with_the_file() -> None:
    for file in (POINTS, POINTS.with_name("README.md")):
        text = file.read_text(encoding="utf-8")
        for said in ("tgarg01/silybench-data", "93e48873", "CC BY 4.0", "20260924T125045Z_h100-80gbx1_qwen3-8b_bf16"):
            assert said in text, (file, said)


def test_prompts_are_known_while_the_cache_has_room_for_all_that_were_sent() -> None:
    fits = replace(POINT, num_prompts=CACHE_TOKENS // (3 * 120))
    assert known_share(replace(POINT, num_prompts=2 * fits.num_prompts), fits) == 0.5
    assert known_share(POINT, fits) == 1
    assert known_share(POINT, replace(fits, num_prompts=fits.num_prompts + 1)) == 0
    assert known_share(POINT, replace(fits, workload="other")) == 0
    assert known_share(POINT, None) == 0


def test_the_median_gap_is_weighted_by_requests() -> None:
    moments_ps = np.array([0, 10, 20, 50, 90, 100]) * 10**9
    rows = pd.DataFrame(
        {
            "decode_first_token_s": np.array([0, 20, 20, 20, 0]) / 1000,
            "output_tokens": [6, 3, 3, 1, 4],
            "preemptions": [0, 0, 0, 0, 1],
        }
    )
    # One request has each of the five gaps, two more those of 30 and 40 ms; the others have none, or preempted ones.
    assert median_itl_ms(rows, moments_ps) == 30
    assert median_itl_ms(rows[:1], moments_ps) == 10


def test_stepping_changes_nothing_and_sees_every_token(tmp_path: Path) -> None:
    profile = str(write_profile(tmp_path))
    scenario = scenario_of(POINT, profile)
    result, moments_ps = stepped(scenario)
    leapt = sunsim.simulate(scenario)
    pd.testing.assert_frame_equal(result.requests, leapt.requests)
    assert result.summary == leapt.summary
    # The profile has no front end: tokens are at the client as they leave the engine, 19 steps after the first.
    first = np.searchsorted(moments_ps, np.rint(result.requests["decode_first_token_s"] * 1e12))
    last_s = moments_ps[first + 19] / 1e12
    np.testing.assert_allclose(result.requests["last_token_s"], last_s, rtol=0, atol=2e-12)


def test_the_server_is_as_the_source_says() -> None:
    (arm,) = scenario_of(POINT).arms
    assert arm.colocated
    assert arm.colocated.max_model_len == 16_384
    assert arm.colocated.num_gpu_blocks * 16 == CACHE_TOKENS == 377_024
    assert (arm.colocated.max_num_seqs, arm.colocated.max_num_batched_tokens) == (1024, 8192)


def test_a_point_is_a_row_and_errors_have_sizes() -> None:
    def off(percent: float, **changes: Any) -> Compared:
        simulated = Figures(*(value * (1 + percent / 100) for value in (100.0, 10.0, 50.0)))
        same = Compared(POINT, simulated, known=0.0, outside=0.0, reason="")
        return replace(same, **changes)

    far = off(-8, point=replace(POINT, workload="long"), outside=0.9, reason="batch")
    text = outside_text([off(2), off(-4, known=0.5), far])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert re.search(
        r"^4 +10 +100 +102 +\+2\.0 +10\.0 +10\.2 +\+2\.0 +50\.0 +51\.0 +\+2\.0 +- +0 %$", text, re.MULTILINE
    )
    assert re.search(r"^4 .* -8\.0 +- +90 % +batch$", text, re.MULTILINE)
    for sums in (
        r"short +2 +3\.0 +3\.0 +3\.0",
        r"batches larger than measured +1 +8\.0",
        r"prompts known +1 +4\.0",
        r"neither +1 +2\.0",
        r"all +3 +4\.7",
    ):
        assert re.search(f"^{sums}", text, re.MULTILINE), sums


def test_a_committed_point_is_simulated(points: list[Point]) -> None:
    """One client: nothing waits, so that little can go wrong. Its first token is a launch more than a step."""
    (alone,) = compare(points[:1])
    assert alone.known == 0
    for figure, most in (("output_throughput", 5), ("itl_median_ms", 5), ("ttft_p95_ms", 10)):
        assert abs(alone.error_percent(figure)) < most


def test_the_page_is_current() -> None:
    for name, content in outside().items():
        shown = block(PLACES[name].read_text(encoding="utf-8"), name)
        assert shown.splitlines() == [line.rstrip() for line in content.splitlines()], (
            "run python -m docs.refresh outside"
        )
