"""Engines with drafts: what they are started with, and how their steps are written down, read back and counted."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from profiler import grid, shapes
from profiler.cli import app
from profiler.measure import Order, set_up
from profiler.phases.acceptance import falling_rates
from profiler.plateaus import grid_batches_with_drafts
from profiler.recording import Step, StepLogReader, entered_as_decodes
from profiler.served import launch_points
from profiler.settings import EngineSettings, SpeculativeSettings, speculative_settings
from profiler.start import engine_arguments, write_drafter
from sunsim.latency.drafts import check_name

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")
EAGLE_3 = EngineSettings(speculative=SpeculativeSettings("eagle", 3))


def test_vllm_is_told_to_accept_nothing_at_first_and_where_the_drafter_is(tmp_path: Path) -> None:
    assert engine_arguments(EAGLE_3, tmp_path, dummy_weights=True, drafter=tmp_path / "d")["speculative_config"] == {
        "method": "eagle",
        "num_speculative_tokens": 3,
        "model": str(tmp_path / "d"),
        "rejection_sample_method": "synthetic",
        "synthetic_acceptance_rates": [0.0, 0.0, 0.0],
    }
    ngram = replace(EAGLE_3, speculative=SpeculativeSettings("ngram_gpu", 5))
    assert "model" not in engine_arguments(ngram, tmp_path, dummy_weights=True)["speculative_config"]
    plain = engine_arguments(EngineSettings(), tmp_path, dummy_weights=True)
    assert not [name for name in (*plain, *EngineSettings().recorded()) if "speculative" in name]


def test_a_profile_says_how_many_drafts_and_counts_the_kv_of_the_drafters_layer(tmp_path: Path) -> None:
    def fresh(method: str) -> dict[str, Any]:
        settings = EngineSettings(speculative=SpeculativeSettings(method, 3))
        return set_up(Order(model="llama-3.1-8b", variant="awq", out=tmp_path / "p.json", settings=settings))

    eagle, ngram = fresh("eagle"), fresh("ngram_gpu")
    assert eagle["engine_args"]["speculative_config"] == {"method": "eagle", "num_speculative_tokens": 3}
    assert eagle["kv_bytes_per_token"] * 32 == ngram["kv_bytes_per_token"] * 33
    assert eagle["variant"] == "awq"


def test_a_drafter_is_one_layer_of_the_model_without_its_quantization(tmp_path: Path) -> None:
    config = shapes.load_config("llama-3.1-8b", "awq")
    drafter = json.loads((write_drafter(tmp_path, config) / "config.json").read_text())

    assert drafter["architectures"] == ["EagleLlamaForCausalLM"]
    assert drafter["num_hidden_layers"] == 1
    assert "quantization_config" not in drafter
    assert drafter["hidden_size"] == config["hidden_size"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--speculative", "medusa", "--num-speculative-tokens", "3"], "--speculative: is medusa, must be eagle or"),
        (["--speculative", "eagle", "--num-speculative-tokens", "17"], "is 17, must be from 1 to 16"),
        (["--speculative", "eagle"], "--speculative: needs --num-speculative-tokens"),
        (["--num-speculative-tokens", "3"], "--num-speculative-tokens: needs --speculative"),
        (["--speculative", "eagle", "--num-speculative-tokens", "3", "--lora-rank", "16"], "must be without --lora"),
        (
            ["--speculative", "eagle", "--num-speculative-tokens", "3", "--max-num-batched-tokens", "1000"],
            "--max-num-batched-tokens: is 1000, must be at least 1024",
        ),
        (
            [
                *("--speculative", "eagle", "--num-speculative-tokens", "3"),
                *("--num-speculative-tokens-per-batch-size", "[[1, 2]]"),
            ],
            "must be a list such as",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(options: list[str], wrong: str) -> None:
    done = CliRunner().invoke(app, ["measure", "--model", "llama-3.1-8b", "--out", "p.json", *options])

    assert done.exit_code == 2
    assert wrong in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", ["measure", "replay"])
@pytest.mark.parametrize(
    ("name", "drafts", "stated"),
    [
        ("drafts/x-eagle-k2.json", ["--speculative", "eagle", "--num-speculative-tokens", "3"], "eagle with 3"),
        ("drafts/x-eagle-k2.json", ["--speculative", "ngram_gpu", "--num-speculative-tokens", "2"], "ngram_gpu with 2"),
        ("drafts/x-eagle-k2.json", [], "none"),
    ],
)
def test_the_name_of_a_profile_with_other_drafts_is_refused_before_an_engine_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, name: str, drafts: list[str], stated: str
) -> None:
    def started(*_: object) -> None:
        pytest.fail("an engine was to start")

    monkeypatch.setattr("profiler.measure.require_vllm", started)
    (tmp_path / "s.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,2\n")
    out = ["--out", str(tmp_path / name)]
    given = out if verb == "measure" else [str(tmp_path / "s.csv"), "--out", str(tmp_path), "--measure", out[1]]
    rates = ["--synthetic-acceptance-rates", ",".join("0" * int(drafts[-1]))] if verb == "replay" and drafts else []
    done = CliRunner().invoke(app, [verb, "--model", "llama-3.1-8b", *given, *drafts, *rates])

    wanted = "must be eagle with 2 num_speculative_tokens, as the file's name says"
    said = f"{tmp_path / name}: engine_args.speculative_config is {stated}, {wanted}\n"
    assert (done.exit_code, done.output) == (2, said)


@pytest.mark.parametrize("name", ["drafts/x-eagle-k3.json", "drafts/x.json", "x-eagle-k2.json"])
def test_a_name_that_says_nothing_else_is_taken(tmp_path: Path, name: str) -> None:
    check_name(tmp_path / name, "eagle", 3)


def test_drafts_by_batch_are_vllms_list() -> None:
    settings = speculative_settings("eagle", 3, "[[1, 8, 3], [9, 256, 0]]")

    assert settings is not None
    assert settings.num_speculative_tokens_per_batch_size == ((1, 8, 3), (9, 256, 0))
    assert settings.recorded()["num_speculative_tokens_per_batch_size"] == [[1, 8, 3], [9, 256, 0]]


def test_a_step_with_drafts_counts_what_the_step_before_it_turned_out_to_accept() -> None:
    lines = [
        '["h", {"num_speculative_tokens": 3}]',
        # Two requests with drafts and one that enters; then all three with drafts, composed before the first is out.
        '["s", 1.0, 1.0001, 3, 9, 200, [[1, 49]], [[1, 49]], 0, 3, 0, 0, 1000, 101, 20201]',
        '["s", 1.001, 1.0011, 3, 12, 252, [], [], 0, 3, 0, 0, 1000, 102, 23000]',
        '["u", 1.01, 1.0101, 4, 2, 6, [2, 1, 1]]',
        '["u", 1.02, 1.0201, 0, 3, 9, [0, 0, 0]]',
    ]
    first, second = StepLogReader().feed(lines)

    assert (first.decode_requests, first.context_tokens, first.chunks) == (2, 202, ((1, 49),))
    assert (first.num_drafts, first.num_draft_tokens, first.num_accepted_tokens_per_pos) == (2, 6, (2, 1, 1))
    assert (second.decode_requests, second.context_tokens) == (3, 252 + 4 + 3)


@given(
    contexts=st.lists(st.integers(0, 5000), max_size=8),
    entering=st.lists(st.integers(0, 5000), max_size=4),
    prompts=st.lists(st.tuples(st.integers(2, 900), st.integers(0, 900)), max_size=2),
)
def test_who_enters_counts_as_if_it_had_been_a_decode_at_once(
    contexts: list[int], entering: list[int], prompts: list[tuple[int, int]]
) -> None:
    def step(decodes: list[int], chunks: list[tuple[int, int]]) -> Step:
        counts = (len(decodes) + len(chunks), 4 * len(decodes) + sum(n for n, _ in chunks))
        sums = (max(decodes, default=0), sum(before**2 for before in decodes))
        line = ["s", 1.0, 1.0, *counts, sum(decodes), [], chunks, 0, 1, 0, 0, 1000, *sums]
        (found,) = StepLogReader().feed([json.dumps(line), '["u", 1.01, 1.0101]'])
        return found

    if not (contexts or entering or prompts):
        return
    apart = step(contexts, [*[(1, before) for before in entering], *prompts])
    counted, wanted = entered_as_decodes(apart), step(contexts + entering, prompts)

    assert (counted.decode_requests, counted.context_tokens) == (wanted.decode_requests, wanted.context_tokens)
    assert (counted.chunks, counted.longest_tokens) == (wanted.chunks, wanted.longest_tokens)
    assert counted.context_std_tokens == pytest.approx(wanted.context_std_tokens, abs=1e-2)
    assert counted.tokens == apart.tokens


def test_a_launch_with_drafts_may_take_longer_to_its_end_before_it_holds_nothing_up() -> None:
    def held_up(drafts: int, launched_s: float, left_s: float) -> bool:
        lines = [
            json.dumps(["h", {"num_speculative_tokens": drafts}]),
            '["s", 1.0, 1.0001, 1, 4, 100, [], [], 0, 1, 0, 0, 1000, 100, 10000]',
            '["l", 1.001]',
            '["s", 1.002, 1.0021, 1, 4, 101, [], [], 0, 1, 0, 0, 1000, 101, 10201]',
            json.dumps(["l", 1.002 + launched_s]),
            json.dumps(["u", 1.002 + launched_s + left_s, 1.1]),
        ]
        return StepLogReader().feed(lines)[0].held_up

    assert held_up(0, 0.001, 0.0029)
    assert not held_up(0, 0.001, 0.0031)
    assert held_up(3, 0.001, 0.0041)
    assert not held_up(3, 0.001, 0.0043)
    assert held_up(3, 0.010, 0.0054)
    assert not held_up(3, 0.100, 0.0061)


def test_launches_are_known_where_they_held_up_an_output() -> None:
    lines = ['["h", {"num_speculative_tokens": 3}]']
    for i in range(12):
        # The engine is one step ahead: each step is scheduled 12 ms after the one before, launched in 9, then takes the output.
        begin_s = 1 + 0.012 * i
        lines.append(
            json.dumps(["s", begin_s, begin_s, 17, 65, 1600, [[1, 9]], [[1, 9]], 0, 17, 0, 0, 1000, 100, 160000])
        )
        lines.append(json.dumps(["l", begin_s + 0.009]))
        if i:
            lines.append(json.dumps(["u", begin_s + 0.0115, begin_s + 0.0118, 0, 16, 48, [0, 0, 0]]))
    steps = [entered_as_decodes(step) for step in StepLogReader().feed(lines)]
    (point,) = launch_points(steps, "chat")

    assert (point["tokens"], point["requests"], point["traffic"]) == (65, 17, "chat")
    assert point["launch_ms_mean"] == pytest.approx(12, abs=1e-3)


@given(largest=st.integers(1, 512), drafts=st.integers(1, 16))
def test_batches_stand_on_both_sides_of_graphs_and_of_tiles(largest: int, drafts: int) -> None:
    each = 1 + drafts
    captured = sorted({-(-size // each) * each for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16))})
    batches = grid_batches_with_drafts(largest, captured, each)

    assert list(batches) == sorted(set(batches), reverse=True)
    assert (batches[0], batches[-1]) == (largest, 1)
    for size in [size for size in captured if size <= 64] + [512]:
        assert {b for b in (size // each, size // each + 1) if 1 <= b <= largest} <= set(batches)
    assert len(batches) <= 60


def test_rates_fall_as_each_draft_has_the_same_chance() -> None:
    assert falling_rates(0.5, 3) == [0.5, 0.25, 0.125]
    assert falling_rates(1.0, 2) == [1.0, 1.0]
    assert falling_rates(0.0, 2) == [0.0, 0.0]


def test_a_profile_with_drafts_first_has_what_simulating_needs() -> None:
    names = [phase.name for phase in grid.full(EAGLE_3)]

    assert names[:4] == ["decode-1024", "decode-128", "prefill", "acceptance-check"]
    assert "acceptance-check" not in [phase.name for phase in grid.full(EngineSettings())]
    assert len(names) == len(set(names))


@needs_vllm
def test_the_worker_sets_rates_and_knows_the_drafters_weights(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.profiler.drafts_on_cpu"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240, cwd=Path.cwd())
    said = [line for line in done.stdout.splitlines() if line.startswith(("[", "{", "T", "F"))]

    # As shares of those that got so far; in place, where the sampler holds it; the embedding is shared, the rest its own.
    assert said == ["[0.8, 0.5, 0.0]", "True", "{'total': 1856, 'embedding': 800, 'drafter': 256}", "True"]


@needs_vllm
@pytest.mark.parametrize("method", ["eagle", "ngram_gpu"])
def test_a_quick_profile_with_drafts_has_the_fake_gpus_steps(tmp_path: Path, method: str) -> None:
    out = tmp_path / "profile.json"
    subprocess.run([sys.executable, "-m", "tests.profiler.fake_platform", str(out), method], check=True, timeout=240)
    profile: dict[str, Any] = json.loads(out.read_text())

    assert all(isinstance(seconds, float) for seconds in profile["phases"].values()), profile["phases"]
    assert profile["engine_args"]["speculative_config"] == {"method": method, "num_speculative_tokens": 3}
    assert [point["batch"] for point in profile["decode_points"] if point["lengths"] == "uniform"] == [
        16,
        9,
        8,
        4,
        2,
        1,
    ]
    for point in profile["acceptance_check"]:
        accepted, mean = point["num_accepted_tokens"] / point["num_drafts"], sum(point["synthetic_acceptance_rates"])
        # About two hundred drafts, each of which is accepted whole or in part, whose standard deviation is near 1.
        assert accepted == pytest.approx(mean, abs=0.4 if 0 < mean < 3 else 0)
        assert point["num_draft_tokens"] == 3 * point["num_drafts"]
    contexts = {point["context_tokens"] for point in profile["acceptance_check"]}
    assert np.ptp(list(contexts)) < 0.02 * max(contexts)
    assert {point["joined"] for point in profile["join_points"]} == {1, 4}
    assert min(point["new_tokens"] for point in profile["prefill_points"]) > 1
    assert min(point["chunk_tokens"] for point in profile["mixed_points"]) > 1
