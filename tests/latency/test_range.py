"""A step is inside the measured range if all that its time depends on is; what takes it out is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.cluster.simulation import simulate_arm
from sunsim.errors import InputError
from sunsim.latency.model import LatencyModel
from sunsim.latency.steps import OUTSIDE, Chunk
from sunsim.report.outside import REASONS
from sunsim.scenario import build_requests, load_scenario
from tests.latency.committed import NAMES, model, profile
from tests.synthetic import synthetic_profile

BF16 = "h100-80gb/llama-3.1-8b-bf16"
LORA = [name for name in NAMES if "-lora-" in name]


@pytest.mark.parametrize(
    ("batch", "context", "chunks", "outside"),
    [
        (0, 0, [Chunk(8192, 0)], None),
        (0, 0, [Chunk(1024, 0)] * 8, None),
        (0, 0, [Chunk(4096, 8192)], None),
        (0, 0, [Chunk(8193, 0)], "tokens"),
        (0, 0, [Chunk(15, 0)], "tokens"),
        (0, 0, [Chunk(8192, 8192)], "pairs"),  # 100 M of them: at most 94.4 M were measured
        (0, 0, [Chunk(512, 111_488)], "pairs"),  # 57 M pairs, but of a prompt of 112,000 tokens
        (0, 0, [Chunk(512, 0), Chunk(512, 111_488)], "pairs"),
        (64, 64_000, [Chunk(960, 0)], None),
        (257, 257_000, [Chunk(960, 0)], "batch"),
        (64, 2_000_000, [Chunk(960, 0)], "context"),
        (64, 64_000, [Chunk(8192, 0)], "tokens"),
    ],
)
def test_steps_with_a_chunk(batch: int, context: int, chunks: list[Chunk], outside: str | None) -> None:
    assert model(BF16).chunked_step(batch, context, chunks)[1] == outside


@pytest.mark.parametrize(
    ("batch", "context", "outside"),
    [
        (1, 8000, None),
        (1, 120_000, "context"),
        (1, 10, "context"),
        (256, 256_000, None),
        (256, 800_000, "context"),
        (257, 257_000, "batch"),
        (600, 80_000, "batch"),
        (600, 8_000_000, "batch"),
    ],
)
def test_decode_steps(batch: int, context: int, outside: str | None) -> None:
    assert model(BF16).decode_line(batch, context).outside == outside


@pytest.mark.parametrize("name", LORA)
@pytest.mark.parametrize(("more", "outside"), [(-3, None), (0, None), (1, "adapters"), (200, "adapters")])
def test_adapters(name: str, more: int, outside: str | None) -> None:
    adapters = profile(name).data.engine_args.max_loras + more
    times = LatencyModel(profile(name), adapters=(1 / adapters,) * adapters)
    assert times.decode_line(16, 16_000).outside == outside
    assert times.chunked_step(0, 0, [Chunk(1024, 0)])[1] == outside
    assert times.decode_line(16, 10**6).outside == "context"  # one reason a step


def test_every_reason_is_put_into_words() -> None:
    assert set(REASONS) == set(OUTSIDE)


def scenario_of(folder: Path, models: int, pool: str) -> Path:
    """Few requests for an arm with one pool."""
    path = folder / "scenario.yaml"
    path.write_text(f"""\
name: range
models: {{count: {models}}}
workload:
  kind: synthetic
  requests: 20
  arrivals: {{kind: poisson, rate_rps: 10}}
  lengths: {{kind: fixed, prompt_tokens: 1000, output_tokens: 20}}
slo: {{ttft_ms: 2000, tpot_ms: 25}}
arms:
  - name: arm
    {pool}
""")
    return path


def lora_scenario(folder: Path, models: int, policy: str) -> Path:
    workers = models if policy == "isolated" else 1
    profile = "h100-80gb/llama-3.1-8b-lora-r16"
    return scenario_of(folder, models, f"decode: {{profile: {profile}, policy: {policy}, workers: {workers}}}")


@pytest.mark.parametrize(
    ("models", "policy", "all_outside"),
    [(4, "shared", False), (12, "shared", True), (200, "shared", True), (12, "isolated", False)],
)
def test_more_adapters_on_a_worker_than_measured_take_every_step_out(
    models: int, policy: str, all_outside: bool, tmp_path: Path
) -> None:
    scenario = load_scenario(lora_scenario(tmp_path, models, policy), [])
    result = simulate_arm(scenario, scenario.arms[0], build_requests(scenario))
    for worker in result.workers:
        assert worker.outside_measured == ({"adapters": worker.steps} if all_outside else {})


def scenario_with(folder: Path, pool: str, **changes: Any) -> Path:
    (folder / "profile.json").write_text(json.dumps(synthetic_profile(**changes)))
    return scenario_of(folder, 3, pool)


KNOWN = {"host": {"gpu_memory_mib": 81_559}}
BLOCK = 16 * 131_072


@pytest.mark.parametrize(
    ("pool", "changes", "most"),
    [
        (
            "decode: {profile: profile.json, policy: shared, workers: 1",
            KNOWN,
            (81_559 * 2**20 - 16_060_522_496) // BLOCK,
        ),
        (
            "prefill: {profile: profile.json, policy: shared, workers: 1",
            KNOWN,
            (81_559 * 2**20 - 3 * 16_060_522_496) // BLOCK,
        ),
        # As if the engine, which had 85 % of the card, had had all of it.
        (
            "decode: {profile: profile.json, policy: shared, workers: 1",
            {},
            (int((25_000 * BLOCK + 16_060_522_496) / 0.85) - 16_060_522_496) // BLOCK,
        ),
    ],
)
def test_no_more_blocks_than_the_cards_memory_holds(
    pool: str, changes: dict[str, Any], most: int, tmp_path: Path
) -> None:
    load_scenario(scenario_with(tmp_path, f"{pool}, num_gpu_blocks: {most}}}", **changes), [])
    with pytest.raises(
        InputError, match=rf"num_gpu_blocks is {most + 1}, must be at most {most}: more do not"
    ) as found:
        load_scenario(scenario_with(tmp_path, f"{pool}, num_gpu_blocks: {most + 1}}}", **changes), [])
    assert found.value.line == 11


@pytest.mark.parametrize("name", NAMES)
def test_the_measured_blocks_of_a_shipped_profile_fit(name: str) -> None:
    found = profile(name)
    assert 0.5 * found.most_blocks(0) < found.num_gpu_blocks <= found.most_blocks(0)
    assert found.most_blocks(999 * found.weight_bytes) == 0


def test_a_summary_counts_each_step_once(tmp_path: Path) -> None:
    """The share of steps outside is never above one, whatever takes them out."""
    text = lora_scenario(tmp_path, 12, "shared").read_text().replace("prompt_tokens: 1000", "prompt_tokens: 9000")
    (tmp_path / "adapters.yaml").write_text(text)
    scenario = load_scenario(tmp_path / "adapters.yaml", [])
    for worker in simulate_arm(scenario, scenario.arms[0], build_requests(scenario)).workers:
        assert sum(worker.outside_measured.values()) == worker.steps
        assert worker.outside_measured["context"]


def prefill_scenario(folder: Path, prompt_tokens: int, requests: int, *options: str) -> Path:
    """One arm for each pool option, with one prefill worker each."""
    arms = "\n".join(
        f"  - name: arm-{i}\n"
        f"    prefill: {{profile: h100-80gb/llama-3.1-8b-bf16, policy: isolated, workers: 1, {option}}}"
        for i, option in enumerate(options)
    )
    path = folder / "prefill.yaml"
    path.write_text(f"""\
name: prefill
models: {{count: 1}}
workload:
  kind: synthetic
  requests: {requests}
  arrivals: {{kind: constant, rate_rps: 200}}
  lengths: {{kind: fixed, prompt_tokens: {prompt_tokens}, output_tokens: 2}}
slo: {{ttft_ms: 2000}}
arms:
{arms}
""")
    return path


def test_a_larger_token_budget_does_not_make_a_card_quicker(tmp_path: Path) -> None:
    budgets = ("max_num_batched_tokens: 8192", "max_num_batched_tokens: 16384", "max_num_batched_tokens: 65536")
    scenario = load_scenario(prefill_scenario(tmp_path, 1024, 640, *budgets), [])
    requests = build_requests(scenario)
    for arm in scenario.arms:
        done_s = simulate_arm(scenario, arm, requests).rows["last_token_s"].max()
        assert 43_000 < 1024 * len(requests) / done_s < 45_000


def test_prompts_longer_than_measured_take_their_steps_out(tmp_path: Path) -> None:
    scenario = load_scenario(prefill_scenario(tmp_path, 120_000, 2, "max_model_len: 131072"), [])
    (worker,) = simulate_arm(scenario, scenario.arms[0], build_requests(scenario)).workers
    # Of 8,192 tokens each; only the first of a prompt attends to no more than any step that was measured.
    assert worker.outside_measured["pairs"] >= worker.steps - 2
