"""What a result says it rests on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sunsim.report.basis import base_models, basis
from sunsim.scenario import load_scenario
from tests.scenario_files import PROFILE, SCENARIO, TRACE, write_scenario


def facts(folder: Path, text: str | None = None, *overrides: str) -> dict[str, list[str]]:
    """The basis of a scenario file."""
    path = write_scenario(folder, text) if text else write_scenario(folder)
    (folder / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,10\n")
    scenario = load_scenario(path, overrides)
    return basis(scenario)


def test_measured_derived_and_assumed_are_kept_apart(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert list(found) == ["measured", "derived", "assumed"]
    assert found["measured"] == [
        f"step times and KV blocks of {tmp_path}/tiny.json (Test GPU)",
        "lengths of azure-conv",
    ]
    assert found["assumed"] == [
        "Poisson arrivals at 60 req/s",
        "Zipf popularity, alpha 3",
        "KV link 400 Gbit/s and 0.1 ms, at no cost to the workers",
        "first token from decode",
        "a request holds its place and blocks on the decode worker while its KV moves",
        "without prefill, a prompt's KV is there at its arrival",
        "what shared decode preempts has its prompt's KV back at no cost (sun)",
    ]


def test_a_trace_is_measured_and_only_its_models_are_assumed(tmp_path: Path) -> None:
    found = facts(tmp_path, TRACE)
    assert found["measured"][1] == "arrivals and lengths of trace.csv"
    assert found["assumed"][:2] == ["popularity as given", "without prefill, a prompt's KV is there at its arrival"]


def test_what_is_done_to_a_trace_is_said(tmp_path: Path) -> None:
    (tmp_path / "burst.csv").write_text(
        "Timestamp,Model,Request tokens,Response tokens\n5,GPT-4,10,10\n6,ChatGPT,10,0\n7,ChatGPT,9,9\n8,GPT-4,1,1\n"
    )
    found = facts(
        tmp_path,
        TRACE,
        "workload.format=burstgpt",
        "workload.path=burst.csv",
        "workload.models={GPT-4: a, ChatGPT: b}",
        "workload.rate_scale=2",
        "workload.duration_s=3",
    )
    assert found["measured"][1] == (
        "arrivals and lengths of burst.csv, without 2 of its 4 requests: 1 outside the window, 1 without an output token"
    )
    assert found["assumed"][:2] == ["2 times the trace's rate", "models: GPT-4 is a and ChatGPT is b"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            [
                "workload.arrivals.curve={kind: diurnal, peak_to_mean: 1.5, peak_s: 9}",
                "workload.arrivals.bursts={every_s: 30, length_s: 2, factor: 4}",
                "workload.popularity={kind: flips, every_s: 50}",
            ],
            [
                (
                    "Poisson arrivals at 60 req/s in the mean, with a peak of 1.5 times a period's mean every 86400 s, "
                    "with bursts of 4 times the rate for 2 s, 30 s apart in the mean"
                ),
                "Zipf popularity, alpha 3, which moves on by one model every 50 s",
            ],
        ),
        (
            [
                "workload.arrivals={kind: constant, curve: {kind: steps, rates: [[0, 1], [60, 3]]}}",
                "workload.popularity={kind: flips, every_s: 50, order: shuffle}",
            ],
            [
                "Constant arrivals at 2 req/s in the mean, in 2 steps",
                "Zipf popularity, alpha 3, which is shuffled every 50 s",
            ],
        ),
        (
            [
                "workload.arrivals.curve={kind: csv, path: rates.csv}",
                "models.popularity.alpha=0",
                (
                    "workload.popularity={kind: steps, between: linear, steps: [{at_s: 0, weights: {m1: 1, m2: 1, m3: 1, "
                    "m4: 0}}, {at_s: 9, weights: {m1: 1, m2: 0, m3: 1, m4: 0}}]}"
                ),
            ],
            [
                "Poisson arrivals at 60 req/s in the mean, along rates.csv",
                "popularity as given, which changes in 1 step, in straight lines from one to the next",
            ],
        ),
    ],
)
def test_how_traffic_changes_is_said(tmp_path: Path, overrides: list[str], said: list[str]) -> None:
    (tmp_path / "rates.csv").write_text("time_s,rate_rps\n0,1\n600,2\n")
    assert facts(tmp_path, SCENARIO, *overrides)["assumed"][:2] == said


def test_stretches_of_a_trace_are_said(tmp_path: Path) -> None:
    stretches = "workload.stretches=[{start_s: 0, duration_s: 9}]"
    assert facts(tmp_path, TRACE, stretches)["assumed"][0] == "1 part of the trace end to end"


def test_a_mooncake_trace_is_taken_without_what_its_prompts_share(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text('{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [0]}\n')
    found = facts(tmp_path, TRACE, "workload.format=mooncake", "workload.path=trace.jsonl")
    assert "what prompts have in common is computed for each of them" in found["assumed"]


def test_options_other_than_the_profiles_are_assumed(tmp_path: Path) -> None:
    found = facts(tmp_path, None, "arms.sun.decode.num_gpu_blocks=9000")
    assert found["assumed"][-1] == "sun decode num_gpu_blocks 9000 (measured with 24000)"


PREFILL = "{profile: tiny.json, policy: POLICY, workers: 4}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("arms.sun.prefill=" + PREFILL.replace("POLICY", "isolated"),), "goes back to its model's prefill workers"),
        (("arms.sun.prefill=" + PREFILL.replace("POLICY", "shared"),), "goes back to the shared prefill workers"),
        ((), "has its prompt's KV back at no cost"),
        (("arms.sun.decode.policy=isolated",), None),
    ],
)
def test_where_preempted_requests_go_is_said_of_the_arms_that_send_them_there(
    tmp_path: Path, overrides: tuple[str, ...], said: str | None
) -> None:
    assumed = facts(tmp_path, None, *overrides)["assumed"]
    expected = [f"what shared decode preempts {said} (sun)"] if said else []
    assert [fact for fact in assumed if "preempts" in fact] == expected


def test_adapters_prefill_again_what_they_preempt(tmp_path: Path) -> None:
    (tmp_path / "lora.json").write_text(json.dumps(PROFILE | {"variant": "lora-r16"}))
    path = write_scenario(tmp_path, SCENARIO.replace("tiny.json", "lora.json"))
    scenario = load_scenario(path, ["arms.sun.prefill=" + PREFILL.replace("POLICY", "shared").replace("tiny", "lora")])
    found = basis(scenario)
    assert not any("preempts" in fact for fact in found["assumed"])


def test_the_base_model_of_each_arm_is_that_of_its_profiles(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    (tmp_path / "qwen.json").write_text(json.dumps(PROFILE | {"model": "qwen3-8b"}))
    scenario = load_scenario(path, ["arms.sun.decode.profile=qwen.json"])
    assert base_models(scenario) == {"isolated": "test-8b", "sun": "qwen3-8b"}


def test_the_popularity_of_a_single_model_is_no_assumption(tmp_path: Path) -> None:
    found = facts(tmp_path, None, "models={count: 1}", "arms.isolated.prefill.workers=2")
    assert not any("popularity" in fact for fact in found["assumed"])


def test_delays_of_the_front_end_are_measured_where_the_profile_has_them(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, SCENARIO.replace("tiny.json", "h100-80gb/llama-3.1-8b-bf16"))
    found = basis(load_scenario(path))
    assert found["measured"][0].startswith("step times, KV blocks, idle front-end delays, ")


def test_what_was_measured_of_several_profiles_is_listed_once(tmp_path: Path) -> None:
    for name, more in (("twin", {}), ("late", {"date": "2031-01-02"}), ("power", {"idle_power_w": 70.0})):
        (tmp_path / f"{name}.json").write_text(json.dumps(PROFILE | more))

    def measured(prefill: str, decode: str) -> list[str]:
        others = [f"arms.isolated.prefill.profile={prefill}.json", f"arms.sun.decode.profile={decode}.json"]
        return [fact.replace(f"{tmp_path}/", "") for fact in facts(tmp_path, None, *others)["measured"][:-1]]

    what = "step times and KV blocks of"
    assert measured("tiny", "twin") == [f"{what} tiny.json and twin.json (Test GPU)"]
    assert measured("twin", "late") == [
        f"{what} late.json (Test GPU, 2031-01-02) and tiny.json and twin.json (Test GPU)"
    ]
    assert measured("tiny", "power") == [
        "step times, KV blocks and power of power.json (Test GPU)",
        f"{what} tiny.json (Test GPU)",
    ]


def test_of_sessions_in_a_trace_later_arrivals_are_not_measured(tmp_path: Path) -> None:
    rows = "0,0,0,,50,20\n0,1,,1,100,20\n"
    (tmp_path / "talks.csv").write_text(f"session,round,arrival_s,think_s,prompt_tokens,output_tokens\n{rows}")
    found = facts(tmp_path, None, "workload={kind: trace, format: csv, path: talks.csv}")
    assert found["measured"][1] == "arrivals of sessions, times to think and lengths of talks.csv"


SESSIONS = """\
name: talks
models: {count: 2}
workload:
  kind: sessions
  duration_s: 60
  arrivals: {kind: poisson, rate_rps: 2}
  rounds: {mean: 3, max: 8}
  think_s: {mean: 5}
  user: {kind: fixed, tokens: 100}
  output: {kind: fixed, tokens: 50}
slo: {ttft_ms: 500, tpot_ms: 25}
arms:
- name: cached
  prefill: &prefill {profile: tiny.json, policy: isolated, workers: 2, enable_prefix_caching: true}
  decode: {profile: tiny.json, policy: isolated, workers: 2}
- name: kept
  prefill: *prefill
  decode: {profile: tiny.json, policy: shared, workers: 1, enable_prefix_caching: true, history: keep}
- name: one-module
  prefill: {profile: tiny.json, policy: shared, module: shared, workers: 1}
  decode: {profile: tiny.json, policy: isolated, workers: 2}
"""


def test_a_decode_worker_that_computes_prompts_sends_none_back(tmp_path: Path) -> None:
    found = facts(tmp_path, SESSIONS, "arms.kept.decode.append_prefill=local")["assumed"]
    assert not any("shared decode preempts" in fact for fact in found)
    assert "what decode preempts goes back to the shared prefill workers (one-module)" in found


def test_what_is_done_with_what_was_said_before_is_assumed(tmp_path: Path) -> None:
    found = facts(tmp_path, SESSIONS)["assumed"]
    assert found[:2] == [
        "Poisson arrivals of sessions at 2 a second",
        "geometric numbers of rounds, 3 in the mean and 8 at most",
    ]
    assert found[-5:] == [
        "what shared decode preempts goes back to its model's prefill workers (kept)",
        "what decode preempts goes back to the shared prefill workers (one-module)",
        "prefix caches by vLLM's rules (cached prefill and kept)",
        "KV that decoding made serves as prefill's own (kept)",
        "one frozen prefill module for all models, whose KV serves each (one-module)",
    ]
