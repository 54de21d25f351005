"""Whatever limits an engine is served with, a profile's requests keep within them, or the command says what is wrong."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from profiler import grid
from profiler.cli import app
from profiler.measure import Order, set_up
from profiler.phases import prefill
from profiler.phases.arrivals import JOINED_OUTPUT_TOKENS, ChunkPlan, JoinPlan
from profiler.settings import MOVES_KV, EngineSettings

DEFAULTS = EngineSettings()


def arguments(settings: EngineSettings) -> dict[str, dict[str, Any]]:
    """What each phase is measured with, by its name."""
    return {
        phase.name: phase.measure.keywords
        for phase in [*grid.full(settings), *grid.quick(settings)]
        if isinstance(phase.measure, partial)
    }


@given(
    seqs=st.integers(2, 1024),
    budget=st.integers(512, 40_000),
    limit=st.sampled_from([2048, 4096, 10_000, 16_384, 131_072]),
)
def test_no_phase_asks_for_more_than_the_engine_takes(seqs: int, budget: int, limit: int) -> None:
    settings = EngineSettings(max_num_seqs=seqs, max_num_batched_tokens=max(budget, seqs), max_model_len=limit)
    for name, stated in arguments(settings).items():
        match stated:
            case {"grid": dict(shapes)} if name == "prefill" and shapes is not prefill.QUICK_GRID:
                for prompts, lengths in shapes.items():
                    assert prompts <= seqs
                    assert all(n < limit and prompts * n <= settings.max_num_batched_tokens for n in lengths)
            case {"lengths": tuple(lengths)}:
                assert all(settings.max_num_batched_tokens < n < limit for n in lengths)
            case {"wanted": tuple(wanted)}:
                assert all(tokens + 4 <= limit for _, tokens in wanted)
            case {"plan": ChunkPlan() as plan}:
                assert 1 <= plan.batch < seqs
                assert plan.prompts
                assert all(n < limit and n <= settings.max_num_batched_tokens for n, _ in plan.prompts)
            case {"plan": JoinPlan() as plan}:
                assert plan.batch >= 1
                assert plan.batch + max((n for n, _ in plan.groups), default=1) <= seqs
                assert all(n + JOINED_OUTPUT_TOKENS <= limit for n, _ in plan.singles)


def test_a_worker_that_moves_kv_is_measured_with_prompts_in_traffic_first() -> None:
    names, usual = list(arguments(EngineSettings(kv_connector=MOVES_KV))), list(arguments(DEFAULTS))
    assert names.index("traffic-prefill") < names.index("decode-4096") < names.index("traffic-chat")
    assert usual.index("decode-4096") < usual.index("traffic-chat") < usual.index("traffic-prefill")
    assert sorted(names) == sorted(usual)


def test_a_reference_profile_covers_batch_and_context_with_under_two_minutes_of_traffic() -> None:
    assert {f"decode-{n}" for n in (128, 1024, 4096, 8192)} | {"prefill-long", "mixed-192"} <= set(arguments(DEFAULTS))
    assert sum(2 * plan.ramp_s + plan.hold_s for plan in grid.TRAFFIC) < 110
    assert len({plan.name for plan in grid.TRAFFIC}) == len(grid.TRAFFIC)


@pytest.mark.parametrize("plan", grid.TRAFFIC, ids=lambda plan: str(plan.name))
@pytest.mark.parametrize("limit", [2048, 16_384])
def test_traffic_draws_lengths_that_fit_and_have_the_stated_mean(plan: Any, limit: int) -> None:
    draws = random.Random(1)
    drawn = [plan.draw(draws, limit) for _ in range(4000)]
    assert all(prompt >= 1 and output >= 1 and prompt + output <= limit for prompt, output in drawn)
    if limit == DEFAULTS.max_model_len:
        assert sum(map(sum, drawn)) / len(drawn) == pytest.approx(plan.mean_tokens, rel=0.2)


def test_one_prompt_in_five_of_the_two_kinds_is_long() -> None:
    (plan,) = [plan for plan in grid.TRAFFIC if plan.name == "two-kinds"]
    draws = random.Random(2)
    prompts = [plan.draw(draws, 16_384)[0] for _ in range(4000)]
    assert sum(n > 3000 for n in prompts) / len(prompts) == pytest.approx(0.2, abs=0.02)
    assert not any(1000 < n < 4000 for n in prompts)


@pytest.mark.parametrize("verb", ["measure", "replay"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-num-seqs", "1"], "--max-num-seqs: is 1, must be at least 2"),
        (["--max-num-seqs", "9000"], "--max-num-batched-tokens: is 8192, must be at least 9000"),
        (["--max-num-batched-tokens", "100"], "--max-num-batched-tokens: is 100, must be at least 512"),
        (["--max-model-len", "1000"], "--max-model-len: is 1000, must be at least 2048"),
        (["--max-model-len", "200000"], "--max-model-len: is 200000, must be at most the model's 131072"),
        (["--gpu-memory-utilization", "85"], "--gpu-memory-utilization: is 85.0, must be above 0 and at most 1"),
        (["--kv-cache-dtype", "int3"], "--kv-cache-dtype: is int3, must be one of auto, bfloat16, fp8, "),
        (["--tensor-parallel-size", "3"], "--tensor-parallel-size: is 3, must divide the model's 32 attention heads"),
    ],
)
def test_limits_that_cannot_be_are_refused_in_one_line(
    tmp_path: Path, verb: str, options: list[str], message: str
) -> None:
    (tmp_path / "stream.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,10\n")
    streams = [str(tmp_path / "stream.csv")] if verb == "replay" else []
    command = [verb, *streams, "--model", "llama-3.1-8b", "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(message)


def test_a_profile_states_the_limits_and_what_each_gpu_holds(tmp_path: Path) -> None:
    settings = EngineSettings(max_num_seqs=64, max_model_len=8192, kv_cache_dtype="fp8", tensor_parallel_size=2)
    fresh = set_up(Order(model="llama-3.1-8b", variant="fp8", out=tmp_path / "p.json", settings=settings))
    stated = {"max_num_seqs": 64, "max_model_len": 8192, "tensor_parallel_size": 2, "quantization": "fp8"}
    assert stated.items() <= fresh["engine_args"].items()
    assert (fresh["variant"], fresh["kv_bytes_per_token"]) == ("fp8", 131_072 // 4)
    assert "quantization" not in DEFAULTS.recorded()


def test_a_variant_alone_decides_what_vllm_makes_of_the_weights(tmp_path: Path) -> None:
    orders = {v: Order(model="qwen3-8b", variant=v, out=tmp_path / "p.json") for v in ("bf16", "awq", "fp8")}
    assert {v: order.settings.arguments().get("quantization") for v, order in orders.items()} == {
        "bf16": None,
        "awq": None,
        "fp8": "fp8",
    }
