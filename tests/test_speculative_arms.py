"""What comes out of arms that draft: closed forms where nobody queues, and what must add up however many do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sunsim
from sunsim.records import DRAFT_COLUMNS, DRAFT_WORKER_COLUMNS, REQUEST_COLUMNS, WORKER_COLUMNS
from sunsim.result import Result
from tests.plan.small import invoke
from tests.synthetic import write_family

PROMPT = 600
RATES = (0.75, 0.55, 0.4)
LENGTHS = """{
  kind: lognormal,
  prompt: {median_tokens: 200, sigma: 0.8, max_tokens: 900},
  output: {median_tokens: 100, sigma: 0.9, max_tokens: 500},
}"""


def pool(config: str = "", more: str = "", stage: str = "decode", policy: str = "shared") -> str:
    """A stage of an arm, of two workers if each is a model's own."""
    drafts = f", speculative_config: {{{config}}}" if config else ""
    workers = 1 if policy == "shared" else 2
    return f"{stage}: {{profile: synthetic.json, policy: {policy}, workers: {workers}{more}{drafts}}}"


def three(rates: tuple[float, ...] = RATES, more: str = "") -> str:
    return f"num_speculative_tokens: {len(rates)}, synthetic_acceptance_rates: {list(rates)}{more}"


def write(folder: Path, arms: dict[str, str]) -> Path:
    """Arms without prefill, at requests that come one at a time."""
    write_family(folder, 1, 3)
    lines = "\n".join(f"  - {{name: {name}, {stage}}}" for name, stage in arms.items())
    path = folder / "scenario.yaml"
    path.write_text(
        f"""\
name: drafts
models: {{count: 2}}
workload:
  kind: synthetic
  requests: 40
  arrivals: {{kind: constant, rate_rps: 0.2}}
  lengths: {{kind: fixed, prompt_tokens: {PROMPT}, output_tokens: 201}}
arms:
{lines}
"""
    )
    return path


def serve(folder: Path, arms: dict[str, str], *overrides: str) -> Result:
    """Simulates them."""
    return sunsim.simulate(sunsim.load(write(folder, arms), overrides))


def step_ms(context: int, drafts: int) -> float:
    """Of one request, as the synthetic profiles say."""
    return 7 + drafts + 0.02 * (drafts + 1) + (4.125e-5 if drafts else 4e-5) * context


def test_one_at_a_time_a_token_takes_a_step_over_the_acceptance_length(tmp_path: Path) -> None:
    """With all drafts accepted each step gives 4 tokens; the first step has none, as it computes one token."""
    result = serve(tmp_path, {"all": pool(three((1, 1, 1)))})
    entry = result.summary["arms"]["all"]
    steps = [step_ms(PROMPT + 1 + 4 * n, 3) for n in range(50)]
    assert entry["mean_acceptance_length"] == 4
    assert entry["acceptance_rate_per_pos"] == [1, 1, 1]
    assert entry["mean_itl_ms"] == pytest.approx(np.mean(steps), rel=1e-6)
    assert entry["mean_tpot_ms"] == pytest.approx(np.mean(steps) / 4, rel=1e-6)
    assert entry["p99_request_itl_ms"] == pytest.approx(entry["mean_itl_ms"], rel=1e-6)
    assert entry["num_drafts"] == 40 * 50
    assert (result.requests["bursts"] == 51).all()


def test_drafts_that_are_never_accepted_cost_their_steps(tmp_path: Path) -> None:
    entry = serve(tmp_path, {"none": pool(three((0, 0, 0)))}).summary["arms"]["none"]
    steps = [step_ms(PROMPT + 1 + n, 3) for n in range(200)]
    assert entry["mean_acceptance_length"] == 1
    assert [entry["mean_tpot_ms"], entry["mean_itl_ms"]] == pytest.approx([np.mean(steps)] * 2, rel=1e-6)


def test_speed_up_is_the_length_over_the_cost(tmp_path: Path) -> None:
    """One at a time, of the arm without drafts; the length is drawn, so its own mean counts."""
    result = serve(tmp_path, {"plain": pool(), "drafts": pool(three())})
    plain, drafts = (result.summary["arms"][name] for name in ("plain", "drafts"))
    assert drafts["without_drafts"] == "plain"
    tokens = (result.requests["output_tokens"] - 1)[result.requests["arm"] == "drafts"].sum()
    gaps = (result.requests["bursts"] - 1)[result.requests["arm"] == "drafts"].sum()
    cost = drafts["mean_itl_ms"] / plain["mean_itl_ms"]
    # Requests are of one length, so the mean of their TPOTs is all time over all tokens.
    assert plain["mean_tpot_ms"] / drafts["mean_tpot_ms"] == pytest.approx(tokens / gaps / cost, rel=1e-9)
    assert cost == pytest.approx(step_ms(PROMPT + 100, 3) / step_ms(PROMPT + 100, 0), rel=1e-3)
    assert drafts["mean_acceptance_length"] >= tokens / gaps  # last bursts are cut


def test_the_drawn_length_is_that_of_the_rates(tmp_path: Path) -> None:
    """Within five standard errors, of as many independent draws."""
    entry = serve(tmp_path, {"drafts": pool(three())}, "workload.requests=200").summary["arms"]["drafts"]
    rates = np.array(RATES)
    accepted = np.arange(4)
    chances = -np.diff([1, *rates, 0])
    spread = np.sqrt((chances * accepted**2).sum() - rates.sum() ** 2)
    error = 5 * spread / np.sqrt(entry["num_drafts"])
    assert entry["mean_acceptance_length"] == pytest.approx(1 + rates.sum(), abs=error)
    for found, rate in zip(entry["acceptance_rate_per_pos"], RATES, strict=True):
        assert found == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / entry["num_drafts"]))


def test_expected_acceptance_has_the_mean_without_chance(tmp_path: Path) -> None:
    """Each request takes its mean number of steps: all alike."""
    result = serve(tmp_path, {"drafts": pool(three(more=", acceptance: expected"))})
    assert result.requests["drafts"].nunique() == 1
    assert result.requests["drafts"].iloc[0] == pytest.approx(200 / (1 + sum(RATES)), abs=1)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Many at a time, at a cache that is too small, so that requests are preempted; and the same without drafts."""
    tight = ", num_gpu_blocks: 400, max_num_seqs: 32"
    arms = {
        "plain": pool(more=tight),
        "drafts": pool(three(more=", models: {m2: {synthetic_acceptance_length: 1.5}}"), tight),
        "by-batch": pool(
            three(more=", num_speculative_tokens_per_batch_size: [[1, 4, 3], [5, 8, 1], [9, 32, 0]]"), tight
        ),
    }
    overrides = (
        "workload.requests=150",
        "workload.arrivals={kind: poisson, rate_rps: 20}",
        f"workload.lengths={LENGTHS}",
    )
    return serve(tmp_path_factory.mktemp("crowd"), arms, *overrides)


def test_rows_and_workers_have_further_columns(crowd: Result) -> None:
    assert list(crowd.requests.columns) == [column.name for column in (*REQUEST_COLUMNS, *DRAFT_COLUMNS)]
    assert set(crowd.workers.columns) == {"arm", "worker"} | {
        column.name for column in (*WORKER_COLUMNS, *DRAFT_WORKER_COLUMNS)
    }


def test_bursts_give_all_tokens_and_only_the_last_is_cut(crowd: Result) -> None:
    rows = crowd.requests[crowd.requests["arm"] != "plain"]
    assert rows["preemptions"].sum() > 0
    cut = rows["bursts"] + rows["accepted_tokens"] - rows["output_tokens"]
    assert cut.between(0, 3).all()
    assert cut.sum() > 0
    assert (rows["drafts"] < rows["bursts"]).all()
    assert (rows["accepted_tokens"] <= rows["draft_tokens"]).all()


def test_requests_add_up_to_their_workers(crowd: Result) -> None:
    totals = crowd.requests.groupby("arm")[["drafts", "draft_tokens", "accepted_tokens"]].sum()
    for name, entry in crowd.summary["arms"].items():
        counted = [entry[tag] for tag in ("num_drafts", "num_draft_tokens", "num_accepted_tokens")]
        assert totals.loc[name].tolist() == counted
        assert [sum(own[tag] for own in entry["models"].values()) for tag in ("num_drafts", "num_accepted_tokens")] == [
            counted[0],
            counted[2],
        ]
    per_pos = crowd.summary["arms"]["drafts"]["acceptance_rate_per_pos"]
    assert per_pos == sorted(per_pos, reverse=True)


def test_models_have_their_own_rates(crowd: Result) -> None:
    models = crowd.summary["arms"]["drafts"]["models"]
    assert models["m1"]["mean_acceptance_length"] > 2.4
    assert models["m2"]["mean_acceptance_length"] == pytest.approx(1.5, abs=0.1)


def test_larger_batches_have_fewer_drafts(crowd: Result) -> None:
    rows = crowd.requests[crowd.requests["arm"] == "by-batch"]
    each = rows["draft_tokens"].sum() / rows["drafts"].sum()
    assert 1 < each < 3
    assert rows["drafts"].sum() < crowd.requests[crowd.requests["arm"] == "drafts"]["drafts"].sum()


def test_an_arm_without_drafts_is_as_if_it_were_alone(tmp_path: Path) -> None:
    both = serve(tmp_path, {"plain": pool(), "drafts": pool(three())}).requests
    alone = serve(tmp_path, {"plain": pool()}).requests
    own = both[both["arm"] == "plain"]
    pd.testing.assert_frame_equal(own[alone.columns], alone)
    assert (own["bursts"] == own["output_tokens"]).all()
    assert own[["drafts", "draft_tokens", "accepted_tokens"]].to_numpy().sum() == 0


def test_what_a_stop_cuts_off_has_counted_what_was_drafted(tmp_path: Path) -> None:
    stop = "stop={when: time, limit_s: 7.05}"
    result = serve(tmp_path, {"drafts": pool(three())}, stop, "workload.arrivals.rate_rps=8")
    rows, entry = result.requests, result.summary["arms"]["drafts"]
    assert entry["unfinished"] == 0 or (rows["bursts"][rows["outcome"] == "unfinished"] == 0).all()
    assert rows["drafts"].sum() == entry["num_drafts"] > 0


def test_a_first_token_of_prefill_is_a_burst(tmp_path: Path) -> None:
    write_family(tmp_path, 1, 3)
    path = tmp_path / "scenario.yaml"
    lengths = "{kind: fixed, prompt_tokens: 600, output_tokens: 10}"
    path.write_text(
        f"""\
name: first
models: {{count: 1}}
first_token: prefill
workload: {{kind: synthetic, requests: 5, arrivals: {{kind: constant, rate_rps: 1}}, lengths: {lengths}}}
arms:
  - name: drafts
    prefill: {{profile: synthetic.json, policy: shared, workers: 1}}
    {pool(three((1, 1, 1)))}
"""
    )
    rows = sunsim.simulate(sunsim.load(path)).requests
    # Nine tokens of decode: one, then two bursts of four; and prefill's.
    assert rows["bursts"].tolist() == [4] * 5
    assert rows["drafts"].tolist() == [2] * 5


def test_a_sweep_shows_what_was_accepted(tmp_path: Path) -> None:
    file = write(tmp_path, {"plain": pool(), "drafts": pool(three())})
    file.write_text(f"{file.read_text()}sweep: {{seeds: 2, over: {{workload.arrivals.rate_rps: [1, 20]}}}}\n")
    code, stdout, stderr = invoke("sweep", file, "--out", tmp_path / "out", "--jobs", 1)
    assert (code, stderr) == (0, "")
    assert "acceptance" in stdout
    assert "ITL mean" in stdout
    points = pd.read_parquet(tmp_path / "out" / "sweep.parquet")
    assert points[points["arm"] == "plain"]["mean_acceptance_length"].isna().all()
    assert points[points["arm"] == "drafts"]["mean_acceptance_length"].between(2.5, 2.9).all()


def test_two_runs_are_compared_by_what_they_accepted(tmp_path: Path) -> None:
    serve(tmp_path, {"drafts": pool(three())}).save(tmp_path / "three")
    serve(tmp_path, {"drafts": pool(three((0.5,)))}).save(tmp_path / "one")
    code, stdout, stderr = invoke("compare", tmp_path / "three", tmp_path / "one")
    assert (code, stderr) == (0, "")
    for header in ("  acceptance length tok", "  accepted", "  ITL mean ms"):
        assert header in stdout
