"""Token velocities against closed forms: of a prefill worker, a link and a decode worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.latency.transfer import LinkTimes, steady_link
from sunsim.latency.velocity import decode_batch, decode_step_s, decode_velocity, prefill_velocity, transfer_velocity
from tests.cluster.worlds import Steps, write_profile

MS = 10**9
LINEAR = Steps(base=10 * MS, decode=MS // 10, context=100, token=MS // 50, lead=2 * MS)
"""A decode step: 10 ms, 0.1 ms a request, 100 ps a token of context. A prompt: 10 ms and 20 us a token, after 2 ms."""


def test_prefill_is_a_full_step_over_its_time_on_an_idle_worker() -> None:
    assert prefill_velocity(LINEAR, 8192) == pytest.approx(8192 / (0.012 + 8192 * 20e-6))


def test_of_a_profile_it_is_the_one_that_operators_measure(tmp_path: Path) -> None:
    times = LatencyModel(load_profile(write_profile(tmp_path)))
    step_s = (8 + 0.02 * 8192 + 8e-7 * 8192 * 8193 / 2) / 1e3  # the synthetic profile's formula
    assert prefill_velocity(times, 8192) == pytest.approx(8192 / step_s, rel=1e-3)


@given(gbit_s=st.floats(1, 1000), kv_bytes=st.integers(1000, 10**6))
def test_a_link_is_its_bandwidth_over_the_bytes_of_a_token(gbit_s: float, kv_bytes: int) -> None:
    assert transfer_velocity(steady_link(gbit_s, 0.1), kv_bytes) == pytest.approx(gbit_s * 1e9 / 8 / kv_bytes)


def test_of_a_measured_link_it_is_that_of_the_largest_transfers_posting_included() -> None:
    link = LinkTimes(0, (1e6, 1e7), (1e9, 5e9), (1e9, 15e9), (1e9, 5e9))
    assert transfer_velocity(link, 1000) == pytest.approx(1e7 / 0.02 / 1000)


@pytest.mark.parametrize(
    ("seqs", "blocks", "limit_s", "batch"),
    [
        (100, 10_000, None, 100),  # places bind
        (256, 1001, None, 16),  # 1,000 blocks of 16 tokens, 1,000 tokens a request on average
        (256, 10_000, 0.02, 50),  # 10 ms + 0.2 ms a request, of which half is its context's
        (256, 10_000, 0.0199, 49),
        (256, 10_000, 0.001, 1),  # nothing is so fast; one is the least that can be
    ],
)
def test_a_decode_batch_has_places_blocks_and_time(seqs: int, blocks: int, limit_s: float | None, batch: int) -> None:
    times = Steps(base=10 * MS, decode=MS // 10, context=10**5)
    assert decode_batch(times, 900, 200, seqs, blocks, 16, limit_s) == batch


def test_decode_frees_the_tokens_of_those_that_end() -> None:
    times = Steps(base=10 * MS, decode=MS // 10, context=10**5)
    assert decode_step_s(times, 50, 900, 200) == pytest.approx(0.02)
    # 50 requests of 200 steps of 20 ms: one ends every 80 ms, and frees 1,100 tokens.
    assert decode_velocity(times, 50, 900, 200) == pytest.approx(1100 / 0.08)


@given(prompt=st.integers(1, 5000), output=st.integers(1, 2000), limit_ms=st.floats(10.3, 100))
def test_no_larger_batch_keeps_the_limit(prompt: int, output: int, limit_ms: float) -> None:
    batch = decode_batch(LINEAR, prompt, output, 256, 10_000, 16, limit_ms / 1000)

    def step_ms(n: int) -> float:
        return 10 + 0.1 * n + 1e-7 * round(n * (prompt + output / 2))

    assert step_ms(batch) <= limit_ms or batch == 1
    room = 9_999 * 16 / (prompt + output / 2)
    assert step_ms(batch + 1) > limit_ms or batch == 256 or batch + 1 > room
