"""The velocities of a plan's workers, against what they are by definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sunsim.latency.steps import Chunk
from sunsim.plan.conditions import AS_PLANNED, requests_under
from sunsim.plan.velocity import velocities, velocity_table
from sunsim.scenario import Pool
from tests.plan.small import loaded


def step_ms(pool: Pool, batch: int, context: float) -> float:
    return pool.times.decode_step_ms(batch, round(batch * context))


def test_they_are_tokens_over_time(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, "transfer.bandwidth_gbit_s=100")
    arm = scenario.arms[1]
    assert arm.prefill
    assert arm.decode
    found = velocities(scenario, arm)
    profile = arm.prefill.profile
    # 100 Gbit/s are 12.5e9 bytes/s.
    assert found["transfer_tokens_per_s"] == pytest.approx(12.5e9 / profile.kv_bytes_per_token)
    whole_ps, _ = arm.prefill.times.chunked_step(0, 0, [Chunk(8192, 0)])
    assert found["prefill_tokens_per_s"] == pytest.approx(8192 * 1e12 / whole_ps, rel=0.05)
    drawn = requests_under(scenario, AS_PLANNED)
    prompt, output = float(np.mean(drawn.prompt_tokens)), float(np.mean(drawn.output_tokens))
    # The largest batch whose steps take the TPOT limit of 8 ms at most, its requests halfway through their outputs.
    context = prompt + output / 2
    batch = max(n for n in range(1, 257) if step_ms(arm.decode, n, context) <= 8)
    assert 1 < batch < 256
    assert found["decode_tokens_per_s"] == pytest.approx(
        batch * (prompt + output) / (output * step_ms(arm.decode, batch, context) / 1000), rel=1e-6
    )


def test_what_an_arm_has_not_has_no_velocity(tmp_path: Path) -> None:
    pool = "{profile: profile.json, policy: shared, workers: 1}"
    scenario = loaded(tmp_path, f"arms=[{{name: front, prefill: {pool}}}, {{name: back, decode: {pool}}}]")
    front, back = (velocities(scenario, arm) for arm in scenario.arms)
    assert {key for key, value in front.items() if value is None} == {"transfer_tokens_per_s", "decode_tokens_per_s"}
    assert {key for key, value in back.items() if value is None} == {"transfer_tokens_per_s", "prefill_tokens_per_s"}
    table = velocity_table({"arms": {"front": {"velocities": front}, "back": {"velocities": back}}})
    assert table.headers[1:] == ("V_P", "V_N", "V_D")
    assert [row[0] for row in table.rows] == ["front", "back"]
    assert [cell == "-" for row in table.rows for cell in row[1:]] == [False, True, True, True, True, False]


def test_a_colocated_worker_has_both_but_no_link(tmp_path: Path) -> None:
    pool = "{profile: profile.json, policy: isolated, workers: 2}"
    scenario = loaded(tmp_path, f"arms=[{{name: both, colocated: {pool}}}]")
    found = velocities(scenario, scenario.arms[0])
    assert found["transfer_tokens_per_s"] is None
    assert found["prefill_tokens_per_s"]
    assert found["decode_tokens_per_s"]
