"""Energy in a summary: what a worker draws at its mean batch while it is busy, and idle watts otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sunsim
from sunsim.latency.measured import ProfileData
from sunsim.latency.power import Power
from sunsim.metrics.energy import add_power
from sunsim.metrics.pools import add_pools
from sunsim.records import ArmResult
from sunsim.report.summary import summary_report
from sunsim.report.terminal import plain
from sunsim.roles import Stage
from tests.metrics.synthetic import sizes, table, toy_summary, toy_worker
from tests.plan.small import SCENARIO
from tests.synthetic import synthetic_profile

IDLE_W = 100.0


def powered(profile: dict[str, Any], decode_w: float = 400.0, prefill_w: float = 600.0) -> dict[str, Any]:
    """The profile with the same power in all steps of a kind."""
    return profile | {
        "idle_power_w": IDLE_W,
        "decode_points": [point | {"avg_power_w": decode_w} for point in profile["decode_points"]],
        "prefill_points": [point | {"avg_power_w": prefill_w} for point in profile["prefill_points"]],
    }


def power_of(profile: dict[str, Any]) -> Power:
    found = Power.of(ProfileData.model_validate_json(json.dumps(profile)))
    assert found
    return found


def simulated(folder: Path, profile: dict[str, Any]) -> dict[str, Any]:
    folder.mkdir()
    (folder / "profile.json").write_text(json.dumps(profile))
    (folder / "small.yaml").write_text(SCENARIO)
    return sunsim.simulate(sunsim.load(folder / "small.yaml")).summary


def test_a_profile_without_idle_power_has_none() -> None:
    assert Power.of(ProfileData.model_validate_json(json.dumps(synthetic_profile()))) is None


def test_power_is_straight_between_measured_batches_and_flat_beyond() -> None:
    profile = synthetic_profile()
    points = [
        profile["decode_points"][0] | {"batch": batch, "context_tokens": 1000, "avg_power_w": watts}
        for batch, watts in ((10, 300.0), (20, 400.0), (20, 500.0), (40, None))
    ]
    power = power_of(profile | {"idle_power_w": IDLE_W, "decode_points": points})
    watts = [power.decode_w(batch) for batch in (1, 10, 15, 20, 40, 999)]
    assert watts == [300, 300, 375, 450, 450, 450]
    assert power.prefill_w(512) is None


@given(st.floats(0.01, 1), st.floats(0.1, 200), st.floats(1, 5000), st.integers(1, 4))
def test_a_worker_s_power_and_the_arm_s_energy(busy: float, batch: float, rate: float, gpus: int) -> None:
    """Closed form: 400 W in decode steps, 600 W in prefill steps, 100 W idle."""
    power = power_of(powered(synthetic_profile()))
    workers = [
        toy_worker("decode/m1/0", "decode", "m1", gpus=gpus),
        toy_worker("prefill/m1/0", "prefill", "m1", steps=3),
        toy_worker("prefill/m1/1", "prefill", "m1"),
    ]
    rows = table({"prefill_worker": "prefill/m1/0", "decode_worker": "decode/m1/0", "prompt_tokens": 900})
    entries: dict[str, Any] = {
        "decode/m1/0": {"utilisation": busy, "mean_batch": batch * busy},
        "prefill/m1/0": {"utilisation": busy},
        "prefill/m1/1": {"utilisation": 0.0},
    }
    arm: dict[str, Any] = {"workers": entries, "output_throughput_window": rate}
    add_power({"arms": {"a": arm}}, [ArmResult(rows, workers)], {"a": {Stage.DECODE: power, Stage.PREFILL: power}})
    expected = [gpus * (400 * busy + 100 * (1 - busy)), 600 * busy + 100 * (1 - busy), 100]
    assert [entry["mean_power_w"] for entry in entries.values()] == pytest.approx(expected)
    assert arm["energy_j_per_output_token"] == pytest.approx(sum(expected) / rate)


def test_prefill_s_power_is_that_of_its_mean_step() -> None:
    profile = synthetic_profile()
    points = [
        profile["prefill_points"][0] | {"new_tokens": tokens, "attended_pairs": 1e9, "avg_power_w": watts}
        for tokens, watts in ((100, 200.0), (300, 600.0))
    ]
    power = power_of(profile | {"idle_power_w": IDLE_W, "prefill_points": points})
    rows = table(*({"prefill_worker": "prefill/m1/0", "prompt_tokens": tokens} for tokens in (500, 300)))
    arm: dict[str, Any] = {"workers": {"prefill/m1/0": {"utilisation": 1.0}}, "output_throughput_window": None}
    worker = toy_worker("prefill/m1/0", "prefill", "m1", steps=4)  # 200 tokens each in the mean
    add_power({"arms": {"a": arm}}, [ArmResult(rows, [worker])], {"a": {Stage.PREFILL: power}})
    assert arm["workers"]["prefill/m1/0"]["mean_power_w"] == 400
    assert arm["energy_j_per_output_token"] is None


def test_workers_that_both_prefill_and_decode_have_none() -> None:
    power = power_of(powered(synthetic_profile()))
    arm: dict[str, Any] = {
        "workers": {"colocated/m1/0": {"utilisation": 0.5, "mean_batch": 3.0}},
        "output_throughput_window": 100.0,
    }
    worker = toy_worker("colocated/m1/0", "colocated", "m1")
    add_power({"arms": {"a": arm}}, [ArmResult(table({}), [worker])], {"a": {Stage.COLOCATED: power}})
    assert arm["workers"]["colocated/m1/0"]["mean_power_w"] is None
    assert arm["energy_j_per_output_token"] is None


def test_a_run_has_energy_only_where_the_profile_has_power(tmp_path: Path) -> None:
    without = simulated(tmp_path / "without", synthetic_profile())
    found = simulated(tmp_path / "with", powered(synthetic_profile()))
    for name, arm in found["arms"].items():
        before = without["arms"][name]
        assert "energy_j_per_output_token" not in before
        assert all("mean_power_w" not in worker for worker in before["workers"].values())
        watts = [worker["mean_power_w"] for worker in arm["workers"].values()]
        assert all(IDLE_W < each < 600 for each in watts)
        assert arm["energy_j_per_output_token"] == pytest.approx(sum(watts) / arm["output_throughput_window"])
        assert arm["mean_tpot_ms"] == before["mean_tpot_ms"]
    assert "J/tok" in plain(summary_report(found).blocks, 200)
    assert "J/tok" not in plain(summary_report(without).blocks, 200)
    assert "power" in found["basis"]["measured"][0]
    assert "power" not in without["basis"]["measured"][0]


@pytest.mark.parametrize(("busy", "gpus"), [(0.25, 1), (0.75, 2)])
def test_elastic_workers_that_are_off_draw_nothing(busy: float, gpus: int) -> None:
    """Closed form: of four workers one is held, and a second for half of the time: 400 W while busy, else 100 W idle."""
    power = power_of(powered(synthetic_profile()))
    workers = [toy_worker(f"decode/shared/{i}", "decode", gpus=gpus) for i in range(4)]
    rows = table(*({"decode_worker": "decode/shared/0", "arrival_s": at_s} for at_s in (0.0, 100.0)))
    arm = ArmResult(rows, workers, sizes((0, 1, 0, 0, 0), (50, 1, 1, 0, 0)))
    summary = toy_summary(arm)
    add_pools(summary, [arm])
    entry = summary["arms"]["a"]
    for i, worker in enumerate(entry["workers"].values()):
        worker |= {"utilisation": 0.0 if i else busy, "mean_batch": 0.0 if i else busy}
    entry["output_throughput_window"] = 10.0
    add_power(summary, [arm], {"a": {Stage.DECODE: power}})
    assert entry["energy_j_per_output_token"] == pytest.approx(gpus * (400 * busy + 100 * (1.5 - busy)) / 10)
    assert {worker["mean_power_w"] for worker in entry["workers"].values()} == {None}
