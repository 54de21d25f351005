"""What a result says it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.latency.profile import load_profile
from sunsim.report.basis import basis
from sunsim.scenario import load_scenario
from tests.scenario_files import TRACE, write_scenario

if TYPE_CHECKING:
    from pathlib import Path


def facts(folder: Path, text: str | None = None, *overrides: str) -> dict[str, list[str]]:
    """The basis of a scenario file."""
    path = write_scenario(folder, text) if text else write_scenario(folder)
    (folder / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,10\n")
    scenario = load_scenario(path, overrides)
    return basis(scenario, {str(folder / "tiny.json"): load_profile(folder / "tiny.json")})


def test_measured_derived_and_assumed_are_kept_apart(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert list(found) == ["measured", "derived", "assumed"]
    assert found["measured"] == [
        f"step times, KV blocks and idle front-end delays of {tmp_path}/tiny.json (Test GPU)",
        "lengths of azure-conv",
    ]
    assert found["assumed"] == [
        "Poisson arrivals at 60 req/s",
        "Zipf popularity, alpha 3",
        "KV link 400 Gbit/s and 0.1 ms, at no cost to the workers",
        "first token from decode",
        "a request holds its place and blocks on the decode worker while its KV moves",
        "without prefill, a prompt's KV is there at its arrival",
    ]


def test_a_trace_is_measured_and_only_its_models_are_assumed(tmp_path: Path) -> None:
    found = facts(tmp_path, TRACE)
    assert found["measured"][1] == "arrivals and lengths of trace.csv"
    assert found["assumed"] == ["popularity as given", "without prefill, a prompt's KV is there at its arrival"]


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


def test_a_mooncake_trace_is_taken_without_what_its_prompts_share(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text('{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [0]}\n')
    found = facts(tmp_path, TRACE, "workload.format=mooncake", "workload.path=trace.jsonl")
    assert "what prompts have in common is computed for each of them" in found["assumed"]


def test_options_other_than_the_profiles_are_assumed(tmp_path: Path) -> None:
    found = facts(tmp_path, None, "arms.sun.decode.num_gpu_blocks=9000")
    assert found["assumed"][-1] == "sun decode num_gpu_blocks 9000 (measured with 24000)"


def test_a_shared_decoder_with_prefill_leaves_prefill_to_the_models(tmp_path: Path) -> None:
    prefill = "{profile: tiny.json, policy: isolated, workers: 4}"
    assumed = facts(tmp_path, None, f"arms.sun.prefill={prefill}")["assumed"]
    assert "prefill stays with its model when decode is shared, and what decode preempts goes back there" in assumed
