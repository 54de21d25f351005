"""What a scenario says of convertible decode workers: filled in, fitted into memory, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sunsim import simulate
from sunsim.clock import PS_PER_MS
from sunsim.cluster.simulation import simulate_arm
from sunsim.errors import InputError
from sunsim.latency.steps import Chunk
from sunsim.plan.knobs import resized
from sunsim.report.basis import basis
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario, build_requests, load_scenario, resolved
from sunsim.scenario.convertible import PLANNED_SHARE
from tests.synthetic import synthetic_profile

SCENARIO = """\
name: bursts
models: {count: 2}
slo: {ttft_ms: 800, tpot_ms: 30}
workload:
  kind: synthetic
  duration_s: 10
  arrivals: {kind: poisson, rate_rps: 1}
  lengths: {kind: fixed, prompt_tokens: 1000, output_tokens: 200}
arms:
  - name: arm
    prefill: {profile: made-up.json, policy: isolated, workers: 2}
    decode:
      profile: made-up.json
      policy: isolated
      workers: 4
      convertible: {workers: 1}
"""
SHARED = ["arms.arm.decode.policy=shared"]
ELASTIC = [
    "arms.arm.decode.workers={min: 1, max: 3}",
    "arms.arm.decode.scaling={kind: request-rate, rps_per_worker: 1}",
]
IT = "arms.arm.decode.convertible"
CONTEXT = 1100
"""Of a request in the middle of its output."""


def write(folder: Path, text: str = SCENARIO) -> Path:
    (folder / "made-up.json").write_text(json.dumps(synthetic_profile()))
    (folder / "other.json").write_text(json.dumps(synthetic_profile(card="Other GPU")))
    (folder / "scenario.yaml").write_text(text)
    return folder / "scenario.yaml"


def loaded(folder: Path, *overrides: str) -> Scenario:
    return load_scenario(write(folder), overrides)


def convertible(scenario: Scenario) -> tuple[int, float, int]:
    decode = scenario.arms[0].decode
    assert decode
    block = decode.convertible
    assert block
    assert isinstance(block.max_chunk_tokens, int)
    assert block.threshold_s
    assert block.num_gpu_blocks
    return block.max_chunk_tokens, block.threshold_s, block.num_gpu_blocks


def decode_ms(arm: Arm, batch: int) -> float:
    assert arm.decode
    return arm.decode.times.decode_step_ms(batch, batch * CONTEXT)


@pytest.mark.parametrize(("overrides", "tpot_ms"), [([], 24), ([], 32), (SHARED, 48), (SHARED, 44)])
def test_auto_is_the_largest_chunk_within_the_limit_beside_the_planned_batch(
    overrides: list[str], tpot_ms: int, tmp_path: Path
) -> None:
    scenario = loaded(tmp_path, f"slo.tpot_ms={tpot_ms}", *overrides)
    arm = scenario.arms[0]
    assert arm.prefill
    assert arm.decode
    chunk, _, blocks = convertible(scenario)
    room = (blocks - 1) * 16 // CONTEXT
    batch = max(n for n in range(1, min(256, room) + 1) if decode_ms(arm, n) <= PLANNED_SHARE * tpot_ms)
    assert batch == room if overrides else 60 < batch < room

    def step_ms(tokens: int) -> float:
        prompts = [Chunk(tokens, 1000 - tokens)]
        if not overrides:
            return arm.decode.times.chunked_step(batch, batch * CONTEXT, prompts)[0] / PS_PER_MS  # type: ignore[union-attr]
        return decode_ms(arm, batch) + arm.prefill.times.chunked_step(0, 0, prompts)[0] / PS_PER_MS  # type: ignore[union-attr]

    assert chunk % 16 == 0
    assert step_ms(chunk) <= tpot_ms < step_ms(chunk + 16)


@pytest.mark.parametrize("times", [1, 2])
def test_with_it_the_limit_holds_while_prompts_come_without_end(times: int, tmp_path: Path) -> None:
    """28 ms of prefill a prompt, and eighty prompts a second for one prefill worker."""
    lengths = "workload.lengths={kind: fixed, prompt_tokens: 1000, output_tokens: 20}"
    workers = ["models={count: 1}", "arms.arm.prefill.workers=1", "arms.arm.decode.workers=1"]
    traffic = ["workload.duration_s=4", "workload.arrivals.rate_rps=80", lengths, "slo={ttft_ms: 400, tpot_ms: 20}"]
    options = [*workers, *traffic, "arms.arm.decode.max_num_seqs=32"]
    chunk, *_ = convertible(loaded(tmp_path, *options))
    scenario = loaded(tmp_path, *options, f"{IT}.max_chunk_tokens={times * chunk}")
    rows = simulate_arm(scenario, scenario.arms[0], build_requests(scenario)).rows
    assert rows["prefill_worker"].isna().mean() > 0.1
    tpot_ms = (rows["last_token_s"] - rows["first_token_s"]) / (rows["output_tokens"] - 1) * 1000
    assert (tpot_ms.max() <= 20) == (times == 1)


@pytest.mark.parametrize(
    ("overrides", "back"),
    [
        ([], None),
        (SHARED, "what shared decode that is not convertible preempts goes back to its model's prefill workers (arm)"),
        ([*SHARED, "arms.arm.decode.workers=1"], None),
    ],
)
def test_a_report_says_who_converts_and_what_becomes_of_the_preempted(
    overrides: list[str], back: str | None, tmp_path: Path
) -> None:
    scenario = loaded(tmp_path, f"{IT}.max_chunk_tokens=512", *overrides)
    assumed = basis(scenario)["assumed"]
    how = "in chunks of 512 tokens beside decodes while prefill is more than 0.4 s behind"
    assert f"decode workers that take whole requests {how} (arm)" in assumed
    assert [fact for fact in assumed if "preempts" in fact] == ([back] if back else [])


def test_a_summary_counts_what_converts_of_arms_that_may_and_no_other(tmp_path: Path) -> None:
    """Eighty prompts a second for two prefill workers, which take 28 ms a prompt."""
    pool = "{profile: made-up.json, policy: isolated, workers: 2}"
    path = write(tmp_path, f"{SCENARIO}  - {{name: plain, prefill: {pool}, decode: {pool}}}\n")
    scenario = load_scenario(path, ["workload.duration_s=4", "workload.arrivals.rate_rps=80"])
    found = simulate(scenario)
    rows = found.requests[found.requests["arm"] == "arm"]
    whole = rows["prefill_worker"].isna()
    assert 0 < whole.sum() < len(rows)
    assert found.summary["arms"]["arm"]["converted"]["requests"] == whole.sum()
    assert "converted" not in found.summary["arms"]["plain"]


def test_places_bound_the_planned_batch_too(tmp_path: Path) -> None:
    few, many = (convertible(loaded(tmp_path, f"arms.arm.decode.max_num_seqs={n}"))[0] for n in (8, 64))
    assert few > many


def test_limits_are_the_strictest_of_the_models(tmp_path: Path) -> None:
    own = "slo.models={m1: {ttft_ms: 500}, m2: {tpot_ms: 20}}"
    assert convertible(loaded(tmp_path, own)) == convertible(loaded(tmp_path, "slo={ttft_ms: 500, tpot_ms: 20}"))
    assert convertible(loaded(tmp_path))[1] == 0.4  # half of 800 ms


def test_a_completed_scenario_says_what_was_chosen_and_is_read_as_such(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    text = resolved(scenario)
    assert "auto" not in text
    (tmp_path / "again.yaml").write_text(text)
    assert load_scenario(tmp_path / "again.yaml").document.arms == scenario.document.arms


def test_only_convertible_workers_hold_prefill_s_modules(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, *SHARED)
    decode = scenario.arms[0].decode
    assert decode
    profile = synthetic_profile()
    weights = 2 * profile["weight_bytes"] / (16 * profile["kv_bytes_per_token"])  # of both models
    assert decode.num_gpu_blocks == profile["num_gpu_blocks"]
    assert decode.num_gpu_blocks - convertible(scenario)[2] == pytest.approx(weights, abs=1)
    assert convertible(loaded(tmp_path))[2] == profile["num_gpu_blocks"]  # isolated: the module is decode's own
    assert convertible(loaded(tmp_path, *SHARED, "arms.arm.decode.num_gpu_blocks=500"))[2] == 500
    # A request may come to any of them.
    assert min(limit.tokens for limit in scenario.limits if not limit.prompt_only) == 16384
    small = loaded(tmp_path, "arms.arm.decode.convertible.num_gpu_blocks=101")
    assert min(limit.tokens for limit in small.limits if not limit.prompt_only) == 1601


def test_in_an_elastic_pool_all_workers_hold_them(tmp_path: Path) -> None:
    fixed, elastic = loaded(tmp_path, *SHARED), loaded(tmp_path, *SHARED, *ELASTIC)
    decode = elastic.arms[0].decode
    assert decode
    assert decode.num_gpu_blocks == convertible(elastic)[2] == convertible(fixed)[2]


def test_a_pool_of_another_size_has_no_more_convertible_workers_than_workers(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, *SHARED, "arms.arm.decode.convertible.workers=3")
    (role,) = [role for role in scenario.arms[0].decode.roles if role.stage is Stage.DECODE]  # type: ignore[union-attr]
    for size, number in ((2, 2), (3, 3), (9, 3)):
        made = resized(scenario.arms[0], {role: size}, {}).decode
        assert made
        assert made.convertible
        assert made.convertible.workers == number


LINE = SCENARIO.splitlines().index("      convertible: {workers: 1}") + 1


def refused(folder: Path, *overrides: str, text: str = SCENARIO) -> str:
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        load_scenario(path, overrides)
    return str(caught.value).removeprefix(f"{path}:").removeprefix("--set: ").removeprefix(f"{LINE}: ")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([f"{IT}.workers=0"], f"{IT}.workers is 0, must be at least 1"),
        ([f"{IT}.workers=3"], f"{IT}.workers is 3, must be at most 2, as many as a pool has"),
        (
            [*SHARED, *ELASTIC, f"{IT}.workers=4"],
            f"{IT}.workers is 4, must be at most 3, as many as a pool has",
        ),
        ([f"{IT}.max_chunk_tokens=0"], f"{IT}.max_chunk_tokens is 0, must be at least 1"),
        ([f"{IT}.max_chunk_tokens=big"], f"{IT}.max_chunk_tokens is 'big', must be auto"),
        (
            [f"{IT}.max_chunk_tokens=9000"],
            f"{IT}.max_chunk_tokens is 9000, must be at most max_num_batched_tokens (8192)",
        ),
        (["slo={ttft_ms: 800}"], f"{IT}.max_chunk_tokens is auto, must be a number, or slo must have tpot_ms"),
        (["slo={tpot_ms: 30}"], f"{IT} lacks threshold_s, must have it, or slo must have ttft_ms"),
        ([f"{IT}.threshold_s=0"], f"{IT}.threshold_s is 0, must be above 0"),
        (
            ["slo.tpot_ms=8"],
            f"{IT}.max_chunk_tokens is auto, must be a number, or slo.tpot_ms longer than 8: a step of 1 decodes and 16 ",
        ),
        (
            ["arms.arm.decode.max_num_batched_tokens=64", "arms.arm.decode.max_num_seqs=64"],
            f"{IT}.max_chunk_tokens is auto, must be a number, or max_num_batched_tokens larger: 64 decodes leave no room",
        ),
        (
            ["arms.arm.decode.append_prefill=local", "arms.arm.decode.enable_prefix_caching=true"],
            "arms.arm.decode.append_prefill is local, must be left out: requests of kind synthetic are no sessions",
        ),
        ([f"{IT}.num_gpu_blocks=90000"], f"{IT}.num_gpu_blocks is 90000, must be at most "),
        (
            [*SHARED, *ELASTIC, f"{IT}.num_gpu_blocks=900"],
            f"{IT}.num_gpu_blocks is 900, must be ",
        ),
        (
            [*SHARED, "arms.arm.prefill.profile=other.json"],
            f"{IT} is given, must be left out: prompts would take prefill's times, and its card is Other GPU, not Test GPU",
        ),
        (
            [*SHARED, "models={count: 5}", "arms.arm.prefill.workers=5"],
            f"{IT} is given, but the weights of 5 prefill modules do not fit beside decode's on one GPU of ",
        ),
        (["arms.arm.prefill.convertible={workers: 1}"], "unknown key arms.arm.prefill.convertible"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, *overrides).startswith(said)


def test_without_prefill_nothing_converts(tmp_path: Path) -> None:
    text = SCENARIO.replace("prefill: {profile: made-up.json, policy: isolated, workers: 2}\n    ", "")
    said = f"{LINE - 1}: {IT} is given, must be left out: without prefill nothing is computed"
    assert refused(tmp_path, text=text) == said


def test_what_appends_rounds_everywhere_converts_nowhere(tmp_path: Path) -> None:
    text = SCENARIO.replace("kind: synthetic", "kind: sessions\n  rounds: {mean: 4, max: 20}\n  think_s: {mean: 10}")
    text = text.replace(
        "lengths: {kind: fixed, prompt_tokens: 1000, output_tokens: 200}",
        "user: {kind: fixed, tokens: 100}\n  output: {kind: fixed, tokens: 100}",
    )
    options = ["arms.arm.decode.append_prefill=local", "arms.arm.decode.enable_prefix_caching=true"]
    said = "is given, must be left out, or append_prefill must be remote: it is local, so all decode workers compute prompts"
    assert refused(tmp_path, *options, text=text).endswith(f"{IT} {said}")
