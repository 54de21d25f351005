"""Who is let in, who is refused, and that the refused leave no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.simulation import simulate_arm
from sunsim.records import REQUEST_COLUMNS
from sunsim.scenario import Scenario, build_requests, load_scenario
from tests.cluster.drawn import PROFILE, Drawn, clusters
from tests.cluster.worlds import Row, pool, scenario, serve, write_profile

SECOND = 10**12
SHED = {"admission": {"kind": "shed"}}
TIMES = [column.name for column in REQUEST_COLUMNS if column.kind == "s" and column.name != "arrival_s"]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profile(tmp_path_factory.mktemp("profile"))


def outcomes(world: Scenario, rows: list[Row], **options: Any) -> list[str]:
    return serve(world, rows, **options).rows["outcome"].tolist()


def step_ms(requests: int, tokens: int) -> float:
    return 7 + 0.02 * requests + 4e-5 * tokens


def prefill_ms(tokens: int) -> float:
    return 8 + 0.02 * tokens + 8e-7 * tokens * (tokens + 1) / 2


@pytest.mark.parametrize(("over_ms", "second"), [(-0.001, "shed"), (0.001, "finished")])
def test_a_decode_step_with_the_request_must_be_within_its_tpot_limit(
    over_ms: float, second: str, profile: Path
) -> None:
    limit = step_ms(2, 2 * 1000) + over_ms
    world = scenario(["a"], {"decode": pool(profile), **SHED}, slo={"tpot_ms": limit})
    # The one before it has emitted nothing when it comes; when the last comes, all have ended.
    rows = [(0, 0, 1000, 50), (0, 0, 1000, 50), (9 * SECOND, 0, 1000, 50)]
    assert outcomes(world, rows) == ["finished", second, "finished"]


@pytest.mark.parametrize(("factor", "second"), [(1.0, "shed"), (2.0, "finished")])
def test_limits_are_the_model_s_own_times_the_factor(factor: float, second: str, profile: Path) -> None:
    slo = {"tpot_ms": 1000.0, "models": {"b": {"tpot_ms": 0.6 * step_ms(2, 2000)}}}
    arm = {"decode": pool(profile), "admission": {"kind": "shed", "factor": factor}}
    rows = [(0, 0, 1000, 5), (0, 1, 1000, 5)]
    assert outcomes(scenario(["a", "b"], arm, slo=slo), rows) == ["finished", second]


@pytest.mark.parametrize(("over_ms", "third"), [(-0.01, "shed"), (0.01, "finished")])
def test_the_wait_for_prompts_before_it_and_its_own_must_be_within_its_ttft_limit(
    over_ms: float, third: str, profile: Path
) -> None:
    # Two prompts of 1,024 wait: at the velocity of a full step of 4,096, and then its own.
    limit = 2 * 1024 / 4096 * prefill_ms(4096) + prefill_ms(1024) + over_ms
    world = scenario(["a"], {"prefill": pool(profile), **SHED}, slo={"ttft_ms": limit})
    rows = [(0, 0, 1024, 1), (0, 0, 1024, 1), (0, 0, 1024, 1), (9 * SECOND, 0, 1024, 1)]
    assert outcomes(world, rows) == ["finished", "finished", third, "finished"]


@pytest.mark.parametrize(("first_token", "second"), [("decode", "shed"), ("prefill", "finished")])
def test_where_decode_emits_the_first_token_the_wait_for_its_place_counts(
    first_token: str, second: str, profile: Path
) -> None:
    arm = {"prefill": pool(profile, workers=2), "decode": pool(profile, max_num_seqs=1), **SHED}
    world = scenario(["a"], arm, slo={"ttft_ms": 20.0}, first_token=first_token)
    # A prompt takes 8.2 ms and a step 7: from an idle decode worker the first token comes after 15. The only place comes
    # free after a step, as the scenario's mean request has one token, and then there are two and a half more.
    rows = [(0, 0, 10, 200), (SECOND, 0, 10, 2)]
    assert outcomes(world, rows) == ["finished", second]


@pytest.mark.parametrize(("convertible", "second"), [(False, "shed"), (True, "finished")])
def test_whoever_a_convertible_worker_takes_is_not_asked(convertible: bool, second: str, profile: Path) -> None:
    block = {"workers": 1, "max_chunk_tokens": 256, "threshold_s": 1e-6, "num_gpu_blocks": 1000}
    arm = {"prefill": pool(profile), "decode": pool(profile, **({"convertible": block} if convertible else {})), **SHED}
    # One on idle workers is let in; to wait for the prompt before it takes longer than the millisecond that is left.
    world = scenario(["a"], arm, slo={"ttft_ms": prefill_ms(1024) + step_ms(1, 1024) + 1})
    assert outcomes(world, [(0, 0, 1024, 5), (0, 0, 1024, 5)]) == ["finished", second]


def test_a_colocated_worker_counts_the_prompts_of_those_that_follow(profile: Path) -> None:
    # By decode steps alone many more would be let in, each of whose prompts holds the others up.
    limit = 20.0
    rows = [(i * SECOND // 50, 0, 1500, 60) for i in range(200)]
    lengths = {"kind": "fixed", "prompt_tokens": 1500, "output_tokens": 60}
    workload = {
        "kind": "synthetic",
        "requests": 1,
        "arrivals": {"kind": "poisson", "rate_rps": 1.0},
        "lengths": lengths,
    }
    world = scenario(["a"], {"colocated": pool(profile), **SHED}, slo={"tpot_ms": limit}, workload=workload)
    found = serve(world, rows).rows
    taken = found[found["outcome"] == "finished"]
    tpot_ms = (taken["last_token_s"] - taken["first_token_s"]) / 59 * 1000
    assert 10 < len(taken) < len(rows)
    # In the mean over requests as predicted: half of the limit's distance from an empty worker's step at least, not far above.
    assert (step_ms(1, 1500) + limit) / 2 < tpot_ms.mean() < 1.15 * limit


@settings(max_examples=25, deadline=None)
@given(drawn=clusters(), ttft_ms=st.sampled_from([10.0, 40.0, 200.0]), tpot_ms=st.sampled_from([7.1, 7.3, 20.0]))
def test_those_let_in_fare_as_if_nobody_else_had_come(
    drawn: Drawn, ttft_ms: float, tpot_ms: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    profile = write_profile(tmp_path_factory.mktemp("profile"), **PROFILE)
    # With one worker for each there is nothing for a router to take turns in.
    alone = {
        stage: options | {"workers": dict.fromkeys(drawn.models, 1) if options["policy"] == "isolated" else 1}
        for stage, options in drawn.pools.items()
    }
    slo = {"ttft_ms": ttft_ms, "tpot_ms": tpot_ms}
    one = Drawn(drawn.models, alone, drawn.blocks, drawn.rows, drawn.host)
    plain = one.scenario(profile, slo=slo)
    arm = plain.document.arms[0]
    admitting = plain.changed(arms=(type(arm).model_validate(arm.model_dump() | SHED),))
    found = serve(admitting, drawn.rows, drawn.host.over).rows
    assert set(found["outcome"]) <= {"finished", "shed"}
    shed = found[found["outcome"] == "shed"]
    assert shed[[*TIMES, "prefill_worker", "decode_worker"]].isna().all(axis=None)
    assert (shed["preemptions"] == 0).all()
    kept = found[found["outcome"] == "finished"].reset_index(drop=True)
    if len(kept):
        rows = [row for row, outcome in zip(drawn.rows, found["outcome"], strict=True) if outcome == "finished"]
        without = serve(plain, rows, drawn.host.over).rows
        ignored = ["request_id", "outcome"]
        pd.testing.assert_frame_equal(kept.drop(columns=ignored), without.drop(columns=ignored), check_exact=True)


def test_in_a_closed_loop_the_client_sends_its_next_at_once(profile: Path) -> None:
    limit = step_ms(2, 220)
    world = scenario(["a"], {"decode": pool(profile), **SHED}, slo={"tpot_ms": limit})
    rows = [(0, 0, 100, 20), (0, 0, 100, 20), (0, 0, 5000, 20), (0, 0, 100, 20)]
    found = serve(world, rows, concurrency=2).rows
    assert found["outcome"].tolist() == ["finished", "finished", "shed", "finished"]
    # A picosecond is the least that the way in takes.
    assert found["arrival_s"][3] - found["arrival_s"][2] == pytest.approx(1e-12, abs=1e-12)


SESSIONS = """\
name: talks
models: {{count: 1}}
workload:
  kind: sessions
  duration_s: 20
  arrivals: {{kind: poisson, rate_rps: 2}}
  rounds: {{mean: 4, max: 9}}
  think_s: {{mean: 1}}
  user: {{kind: fixed, tokens: 100}}
  output: {{kind: fixed, tokens: 10}}
slo: {{ttft_ms: {ttft_ms}}}
arms:
  - name: arm
    admission: {{kind: shed}}
    prefill: {{profile: profile.json, policy: shared, workers: 1}}
    decode: {{profile: profile.json, policy: shared, workers: 1}}
"""


@pytest.mark.parametrize(("ttft_ms", "rounds"), [(1, {0}), (10_000, {0, 1, 2, 3})])
def test_a_refused_round_is_the_last_of_its_session(ttft_ms: int, rounds: set[int], tmp_path: Path) -> None:
    write_profile(tmp_path)
    (tmp_path / "talks.yaml").write_text(SESSIONS.format(ttft_ms=ttft_ms))
    world = load_scenario(tmp_path / "talks.yaml")
    found = simulate_arm(world, world.arms[0], build_requests(world)).rows
    assert rounds <= set(found["round"])
    assert (found["round"].max() == 0) == (found["outcome"] == "shed").all()
