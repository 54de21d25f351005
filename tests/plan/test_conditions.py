"""Other conditions leave the random draws as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sunsim.cluster.simulation import simulate_arm
from sunsim.errors import InputError
from sunsim.plan.bench import Bench
from sunsim.plan.conditions import AS_PLANNED, Conditions, accepting, has_skew, only, requests_under, under
from sunsim.plan.probe import row_of
from sunsim.plan.run import load
from sunsim.plan.variants import variants
from sunsim.scenario import Scenario
from sunsim.scenario.blocks import ModelWeight
from tests.plan.small import PLAN, SCENARIO, loaded, write_plan
from tests.synthetic import write_family


def test_another_rate_scales_the_gaps_of_the_same_requests(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    slow, fast = (requests_under(under(scenario, at), at) for at in (AS_PLANNED, Conditions(rate=2.0)))
    same = len(slow)
    assert len(fast) > 1.8 * same
    assert np.abs(2 * fast.arrival_ps[:same] - slow.arrival_ps).max() <= 2
    for name in ("prompt_tokens", "output_tokens", "model"):
        assert (getattr(fast, name)[:same] == getattr(slow, name)).all()


def traced(folder: Path, outputs: list[int], more: str = "") -> Scenario:
    """The small plan of a trace: a request a second, with so many output tokens each."""
    rows = [f"{i},100,{tokens}" for i, tokens in enumerate(outputs)]
    (folder / "trace.csv").write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]) + "\n")
    return loaded(folder, f"workload={{kind: trace, format: csv, path: {folder}/trace.csv{more}}}")


def test_a_trace_keeps_all_its_requests_and_its_window_at_another_rate(tmp_path: Path) -> None:
    scenario, twice = traced(tmp_path, [10 + i for i in range(10)]), Conditions(rate=2.0)
    faster = under(scenario, twice)
    assert (requests_under(faster, twice).arrival_ps * 2 == requests_under(scenario, AS_PLANNED).arrival_ps).all()
    assert not has_skew(scenario.changed(models=(ModelWeight(name="m1", weight=1.0),)))
    assert faster.measure.warmup_s == scenario.measure.warmup_s / 2


def test_a_curve_keeps_its_shape_at_another_rate(tmp_path: Path) -> None:
    curve = "workload.arrivals={kind: constant, rate_rps: 4, curve: {kind: steps, rates: [[0, 1], [5, 3]]}}"
    scenario = load(write_plan(tmp_path), ["workload.duration_s=10", "measure.warmup_s=0", curve], None).scenario
    for rate in (0.5, 1.0, 2.0):
        conditions = Conditions(rate=rate)
        arrival_ps = requests_under(under(scenario, conditions), conditions).arrival_ps
        assert (np.histogram(arrival_ps / 1e12, [0, 5, 10])[0] == np.array([10, 30]) * rate).all()


def test_a_faster_trace_keeps_the_models_of_its_requests(tmp_path: Path) -> None:
    scenario, twice = traced(tmp_path, [10] * 40, ", popularity: {kind: flips, every_s: 8}"), Conditions(rate=2.0)
    planned, faster = requests_under(scenario, AS_PLANNED), requests_under(under(scenario, twice), twice)
    assert set(planned.model.tolist()) == {0, 1}
    assert (faster.model == planned.model).all()


def test_a_closed_loop_has_no_rate_to_plan_for(tmp_path: Path) -> None:
    closed = ["workload.requests=9", "workload.duration_s=null", "workload.arrivals={kind: closed, concurrency: 3}"]
    with pytest.raises(
        InputError, match=r"^--set: workload.arrivals.kind is closed, must be one with rate_rps: a plan"
    ):
        load(write_plan(tmp_path), closed, None)


def test_longer_outputs_stay_within_what_a_worker_holds(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, "arms.sun.decode.max_model_len=2200")
    longer = Conditions(outputs=1.5)
    before, after = requests_under(scenario, AS_PLANNED), requests_under(under(scenario, longer), longer)
    free = before.prompt_tokens + 1.5 * before.output_tokens < 2200
    assert (after.output_tokens[free] == np.rint(1.5 * before.output_tokens[free])).all()
    assert (after.prompt_tokens + after.output_tokens).max() <= 2200
    assert (after.arrival_ps == before.arrival_ps).all()


def test_more_skew_moves_requests_to_the_hotter_model(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    skewed = Conditions(alpha=1.0)
    before, after = requests_under(scenario, AS_PLANNED), requests_under(under(scenario, skewed), skewed)
    assert (after.model <= before.model).all()
    assert (after.model < before.model).any()
    flat = under(scenario, Conditions(alpha=-5.0))
    assert flat.model_shares == (0.5, 0.5)


@pytest.mark.parametrize(("key", "what"), [("decode_time", "tpot_s"), ("prefill_time", "ttft_s")])
def test_slower_steps_are_slower(tmp_path: Path, key: str, what: str) -> None:
    scenario = loaded(tmp_path, "workload.arrivals.rate_rps=1", "workload.duration_s=30", "measure.warmup_s=0")
    requests = only(requests_under(scenario, AS_PLANNED), "m1")
    times = []
    for conditions in (AS_PLANNED, Conditions(**{key: 1.5})):
        rows = simulate_arm(scenario, scenario.arms[1], requests, times_on=conditions.times_on).rows
        ttft_s = rows["prefill_end_s"] - rows["prefill_start_s"]
        tpot_s = (rows["last_token_s"] - rows["first_token_s"]) / (rows["output_tokens"] - 1)
        times.append({"tpot_s": tpot_s, "ttft_s": ttft_s}[what])
    # Alone on its worker a request takes nothing but its own steps.
    assert times[1].median() == pytest.approx(1.5 * times[0].median(), rel=0.02)


def test_only_keeps_a_models_requests_and_the_models_numbers(tmp_path: Path) -> None:
    requests = requests_under(loaded(tmp_path), AS_PLANNED)
    own = only(requests, "m2")
    assert len(own) == int((requests.model == 1).sum())
    assert (own.model == 1).all()
    assert own.models == requests.models


def test_fewer_accepted_drafts_are_those_of_every_rate(tmp_path: Path) -> None:
    write_family(tmp_path, 1, 3, name="profile.json")
    told = "num_speculative_tokens: 3, synthetic_acceptance_length: 2.5, models: {m1: {synthetic_acceptance_rates: [0.5, 0.5, 0]}}"
    contexts = "contexts: [{from_tokens: 900, synthetic_acceptance_rates: [0.1, 0, 0]}]"
    text = SCENARIO + PLAN
    path = tmp_path / "drafts.yaml"
    path.write_text(text.replace("workers: 1}", f"workers: 1, speculative_config: {{{told}, {contexts}}}}}"))
    scenario = load(path, ["plan.sensitivity=true"], None).scenario
    plain, drafting = scenario.arms
    fewer = variants(scenario, drafting, {"prefill": {}, "decode": {}})["accepted -20 %"]
    assert "accepted -20 %" not in variants(scenario, plain, {"prefill": {}, "decode": {}})
    bench = Bench(scenario, drafting, [])
    benches, sizes = (bench, bench.under(fewer)), dict.fromkeys(bench.roles, 1)
    blocks = [each.sized(sizes).block for each in benches]
    configs = [block.decode.speculative_config for block in blocks if block.decode]
    assert configs[0]
    assert configs[1]
    assert configs[1].synthetic_acceptance_rates == pytest.approx([0.8, 0.4, 0.0])
    assert configs[1].synthetic_acceptance_length is None
    assert configs[1].models["m1"].rates(3) == pytest.approx([0.4, 0.4, 0.0])
    assert configs[1].contexts[0].rates(3) == pytest.approx([0.08, 0, 0])
    assert configs[1].contexts[0].from_tokens == 900
    tpot_ms = [row_of(each.probes(sizes, None, to_the_end=True)[0])["figures"]["mean_tpot_ms"] for each in benches]
    assert tpot_ms[0] < tpot_ms[1]
    assert accepting(plain.block, 0.8) is plain.block
