"""Scenarios as loaded: defaults, overrides, workers spread, and the way back to YAML."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sunsim.errors import InputError
from sunsim.plan.knobs import resized
from sunsim.roles import Module, Role, Stage
from sunsim.scenario import Pool, allocate, build_requests, load_scenario, resolved
from sunsim.scenario.blocks import ModelCount, StopAtTime, StopWhenFinished, Zipf
from sunsim.workload.blocks import Poisson, Synthetic, Trace
from tests.scenario_files import PROFILE, SCENARIO, write_scenario, write_trace

MINIMAL = """\
name: minimal
models: {count: 2}
workload: {kind: synthetic, requests: 10, arrivals: {kind: constant, rate_rps: 1}, lengths: {kind: azure-code}}
arms: [{name: only, decode: {profile: tiny.json, policy: shared, workers: 1}}]
"""


def _decode(path: Path, arm: int, overrides: tuple[str, ...] = ()) -> Pool:
    pool = load_scenario(path, overrides).arms[arm].decode
    assert pool is not None
    return pool


def test_the_contract_s_scenario_loads(tmp_path: Path) -> None:
    scenario = load_scenario(write_scenario(tmp_path))
    assert (scenario.name, scenario.seed, scenario.first_token) == ("zipf3", 7, "decode")
    assert scenario.document.models == ModelCount(count=4, popularity=Zipf(alpha=3.0))
    assert isinstance(scenario.workload, Synthetic)
    assert scenario.workload.arrivals == Poisson(rate_rps=60.0)
    assert [arm.name for arm in scenario.arms] == ["isolated", "sun"]
    assert scenario.model_names == ("m1", "m2", "m3", "m4")


def test_what_the_file_leaves_out_is_filled_in(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, MINIMAL)
    scenario, pool = load_scenario(path), _decode(path, 0)
    assert scenario.seed == 0
    assert scenario.stop == StopWhenFinished()
    assert (scenario.slo.ttft_ms, scenario.slo.tpot_ms) == (None, None)
    assert (scenario.measure.warmup_s, scenario.measure.until) == (0.0, "last-arrival")
    assert (scenario.transfer.bandwidth_gbit_s, scenario.transfer.latency_ms) == (400.0, 0.1)
    assert scenario.model_shares == (0.5, 0.5)
    assert pool.router == "least-requests"
    assert pool.profile_name == str(tmp_path / "tiny.json")
    assert (pool.max_num_seqs, pool.max_num_batched_tokens, pool.max_model_len) == (256, 8192, 16384)
    assert pool.num_gpu_blocks == 24000


def test_isolated_workers_become_a_map_and_shared_ones_stay_a_number(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    assert _decode(path, 0).workers == {"m1": 6, "m2": 1, "m3": 1, "m4": 1}
    assert _decode(path, 0, ("arms.isolated.decode.allocation=equal",)).workers == {"m1": 3, "m2": 2, "m3": 2, "m4": 2}
    assert _decode(path, 1).workers == 4


def test_models_on_a_shared_prefill_worker_take_room_from_its_kv_blocks(tmp_path: Path) -> None:
    shared = "arms.isolated.prefill={profile: tiny.json, policy: shared, workers: 2}"
    lengths = "workload.lengths={kind: fixed, prompt_tokens: 100, output_tokens: 10}"
    prefill = load_scenario(write_scenario(tmp_path), [shared, lengths]).arms[0].prefill
    assert prefill is not None
    assert prefill.num_gpu_blocks == 24000 - -(-3 * 16_000_000_000 // (16 * 131_072))


def test_adapters_share_their_base_s_weights(tmp_path: Path) -> None:
    (tmp_path / "adapters.json").write_text(json.dumps(PROFILE | {"variant": "lora-r16"}), encoding="utf-8")
    pool = "{profile: adapters.json, policy: shared, workers: 2}"
    arms = f"arms=[{{name: apart, prefill: {pool}, decode: {pool}}}, {{name: together, colocated: {pool}}}]"
    apart, together = load_scenario(write_scenario(tmp_path), [arms]).arms
    for pools in (apart.pools(), together.pools()):
        assert [pool.num_gpu_blocks for pool in pools.values()] == [24000] * len(pools)
    assert list(together.pools()) == ["colocated"]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("stop={when: time, limit_s: 600}", "first_token=prefill", "slo={}", "seed=1234567890123456789"),
        ("workload.arrivals={kind: gamma, rate_rps: 1e-3, burstiness: 0.1}", "workload.duration_s=5000"),
        ("workload.lengths={kind: lognormal, prompt: &l {median_tokens: 5, sigma: 1, max_tokens: 99}, output: *l}",),
        ("models=[{name: 'on', weight: 2}, {name: '4', weight: 1}]", "arms.isolated.prefill.workers={'4': 1, 'on': 2}"),
        ("arms.isolated.prefill={profile: tiny.json, policy: shared, workers: 2}",),
    ],
)
def test_a_resolved_scenario_loads_again_from_anywhere(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    scenario = load_scenario(write_scenario(tmp_path), overrides)
    again = tmp_path / "elsewhere" / "scenario.resolved.yaml"
    again.parent.mkdir()
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario
    assert resolved(load_scenario(again)) == resolved(scenario)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    name=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\"),
        min_size=1,
        max_size=100,
    ).filter(lambda name: not name.startswith(".")),
    rate=st.floats(1e-9, 1e5),
)
def test_any_name_and_number_survive_the_round_trip(tmp_path: Path, name: str, rate: float) -> None:
    scenario = load_scenario(write_scenario(tmp_path))
    arrivals = Poisson(rate_rps=rate)
    scenario = scenario.changed(name=name, workload=scenario.workload.model_copy(update={"arrivals": arrivals}))
    again = tmp_path / "again.yaml"
    again.write_text(resolved(scenario), encoding="utf-8")
    assert load_scenario(again) == scenario


def test_a_trace_s_path_starts_at_the_scenario_file(tmp_path: Path) -> None:
    workload = load_scenario(write_trace(tmp_path, "")).workload
    assert isinstance(workload, Trace)
    assert workload.path == tmp_path / "trace.csv"


def test_overrides_apply_in_order_by_number_or_name(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    assert _decode(path, 1, ("arms.sun.decode.workers=8",)).workers == 8
    assert _decode(path, 1, ("arms.1.decode.workers=8", "arms.sun.decode.workers=5")).workers == 5
    scenario = load_scenario(path, ["stop.when=time", "stop.limit_s=60", "seed=1"], seed=2)
    assert scenario.stop == StopAtTime(limit_s=60.0)
    assert scenario.seed == 2


def test_an_override_makes_the_mappings_that_are_missing(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, SCENARIO.replace("slo: {ttft_ms: 2000, tpot_ms: 25}\n", ""))
    assert load_scenario(path, ["slo.ttft_ms=100"]).slo.ttft_ms == 100.0


def test_an_override_leaves_aliases_of_the_same_mapping_alone(tmp_path: Path) -> None:
    shared = "{profile: tiny.json, policy: shared, workers: 1}"
    arms = f"arms: [{{name: a, decode: &pool {shared}}}, {{name: b, decode: *pool}}]\n"
    path = write_scenario(tmp_path, MINIMAL[: MINIMAL.index("arms")] + arms)
    overrides = ("arms.b.decode.workers=3",)
    assert (_decode(path, 0, overrides).workers, _decode(path, 1, overrides).workers) == (1, 3)


def test_merge_keys_are_followed(tmp_path: Path) -> None:
    shared = "{profile: tiny.json, policy: shared, workers: 1}"
    arms = f"arms: [{{name: a, decode: &pool {shared}}}, {{name: b, decode: {{<<: *pool, workers: 2}}}}]\n"
    path = write_scenario(tmp_path, MINIMAL[: MINIMAL.index("arms")] + arms)
    assert (_decode(path, 0).workers, _decode(path, 1).workers) == (1, 2)


def test_an_error_beside_an_override_still_names_its_line(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, SCENARIO.replace("latency_ms: 0.1", "latency_ms: -1"))
    with pytest.raises(Exception, match=rf"{path}:28: transfer.latency_ms is -1, must be at least 0"):
        load_scenario(path, ["transfer.bandwidth_gbit_s=100"])


def test_equal_allocation_gives_the_rest_to_the_first() -> None:
    assert allocate(8, ["a", "b", "c"], [1, 1, 8], "equal") == {"a": 3, "b": 3, "c": 2}


def test_proportional_allocation_by_largest_remainder() -> None:
    # Quotas are 4.7, 2.7 and 2.6: two seats are left over, for the two largest remainders.
    assert allocate(10, ["a", "b", "c"], [47, 27, 26], "proportional") == {"a": 5, "b": 3, "c": 2}
    assert allocate(3, ["a", "b"], [1, 1], "proportional") == {"a": 2, "b": 1}


def test_proportional_allocation_leaves_no_model_without_a_worker() -> None:
    assert allocate(4, ["a", "b", "c", "d"], [1000, 1, 1, 1], "proportional") == dict.fromkeys("abcd", 1)
    assert allocate(8, ["a", "b", "c"], [0.85, 0.14, 0.01], "proportional") == {"a": 6, "b": 1, "c": 1}


def test_fewer_workers_than_models_cannot_be_allocated() -> None:
    with pytest.raises(ValueError, match="1 workers cannot serve 2 models"):
        allocate(1, ["a", "b"], [1, 1], "equal")


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8), st.integers(0, 60))
def test_allocation_uses_every_worker_and_follows_the_weights(weights: list[float], spare: int) -> None:
    models = [f"m{index}" for index in range(len(weights))]
    counts = allocate(len(models) + spare, models, weights, "proportional")
    assert list(counts) == models
    assert sum(counts.values()) == len(models) + spare
    assert min(counts.values()) >= 1
    for lighter, few in zip(weights, counts.values(), strict=True):
        assert all(few <= many for heavier, many in zip(weights, counts.values(), strict=True) if heavier > lighter)


def test_a_scenario_may_be_given_as_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_scenario(tmp_path, MINIMAL)
    values = YAML(typ="safe").load(MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert load_scenario(values, ["workload.requests=20"], 3) == load_scenario(path, ["workload.requests=20"], 3)
    assert values == YAML(typ="safe").load(MINIMAL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "scenario: seed is -1, must be at least 0"),
        ({"colour": "red"}, "scenario: unknown key colour, must be one of name, seed, models, "),
        ({"models": []}, "scenario: models is an empty list, must be a list with at least one entry"),
        ({"name": "\ud800"}, "scenario: \\ud800 has half a character (a lone surrogate), must be whole text"),
        (
            {"arms": ({"name": "a", "decode": {"profile": "no", "policy": "shared", "workers": 1}},)},
            "scenario: arms.a.",
        ),
    ],
)
def test_what_is_wrong_with_values_is_told_without_a_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(YAML(typ="safe").load(MINIMAL) | changes)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_loaded_scenario_has_what_its_names_stand_for(tmp_path: Path) -> None:
    (tmp_path / "lora.json").write_text(json.dumps(PROFILE | {"variant": "lora-r16"}))
    shared = "{profile: PROFILE, policy: shared, workers: 2}"
    lora = f"arms.sun.prefill={shared.replace('PROFILE', 'lora.json')}"
    isolated, sun = load_scenario(write_scenario(tmp_path), [lora]).arms
    assert isolated.decode
    assert isolated.decode.roles == {
        Role(Stage.DECODE, model, Module.OWN): workers
        for model, workers in (("m1", 6), ("m2", 1), ("m3", 1), ("m4", 1))
    }
    assert sun.decode
    assert sun.decode.roles == {Role(Stage.DECODE, None, Module.SHARED): 4}
    assert sun.prefill
    assert sun.prefill.roles == {Role(Stage.PREFILL, None, Module.ADAPTER): 2}
    assert isolated.decode.profile is sun.decode.profile
    assert isolated.decode.times is sun.decode.times
    more = resized(sun, {Role(Stage.DECODE, None, Module.SHARED): 7}, {})
    assert (more.gpus, sun.gpus) == (9, 6)
    assert more.prefill is sun.prefill


def test_a_scenario_travels_as_its_document(tmp_path: Path) -> None:
    scenario = load_scenario(write_scenario(tmp_path))
    _ = scenario.arms[0].pools()[Stage.DECODE].times
    sent = pickle.dumps(scenario)
    assert len(sent) < 2 * len(pickle.dumps(scenario.document))
    back = pickle.loads(sent)
    assert back == scenario
    assert back.arms[0].decode.times is scenario.arms[0].pools()[Stage.DECODE].times


def test_variations_are_resolved_again(tmp_path: Path) -> None:
    scenario = load_scenario(write_scenario(tmp_path))
    arm = resized(scenario.arms[1], {Role(Stage.DECODE, None, Module.SHARED): 9}, {})
    made = scenario.with_arms([arm]).changed(seed=8)
    asked = load_scenario(tmp_path / "scenario.yaml", ["seed=8", "arms.sun.decode.workers=9"])
    assert made == asked.with_arms([asked.arms[1]])
    assert made.arms[0].gpus == asked.arms[1].gpus == scenario.arms[1].gpus + 5


def test_a_closed_loop_draws_the_same_lengths_and_models(tmp_path: Path) -> None:
    closed = "workload={kind: synthetic, requests: 50, arrivals: {kind: closed, concurrency: 8}, lengths: {kind: azure-conv}}"
    path = write_scenario(tmp_path)
    loop, drawn = (
        build_requests(load_scenario(path, [closed])),
        build_requests(load_scenario(path, ["workload.requests=50"])),
    )
    assert (loop.concurrency, drawn.concurrency) == (8, None)
    assert not loop.arrival_ps.any()
    for column in ("model", "prompt_tokens", "output_tokens"):
        assert (getattr(loop, column) == getattr(drawn, column)).all()
