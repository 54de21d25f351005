"""A whole cluster of leaping engines does what one of step-by-step engines does, to the picosecond."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.simulation import simulate_arm
from sunsim.records import ArmResult
from sunsim.scenario import Scenario, build_requests, load_scenario
from sunsim.scenario.pools import ADAPTIVE
from tests.cluster.drawn import (
    KNOWN,
    LEAST_BLOCKS,
    NO_DELAY,
    PROFILE,
    ROUTERS,
    Drawn,
    clusters,
    crowd,
    elastic_clusters,
)
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.worlds import Host, Row, driven_by, serve, write_profile

SHIPPED = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
FIRST_REQUESTS, FIRST_TOKENS = 200, 40_000  # of a shipped scenario


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profile(tmp_path_factory.mktemp("profile"), **PROFILE)


def assert_same(leaping: ArmResult, stepping: ArmResult) -> None:
    pd.testing.assert_frame_equal(leaping.rows, stepping.rows, check_exact=True)
    assert leaping.workers == stepping.workers
    if leaping.sizes is not None and stepping.sizes is not None:
        # After the last request's end a step for nobody may be on the GPU. Whether a pool looks once more then depends
        # on who wakes at that step's end, and changes nothing that is told.
        end_s = leaping.rows["last_token_s"].max(skipna=False)
        first, second = (each[~(each["at_s"] > end_s)] for each in (leaping.sizes, stepping.sizes))
        pd.testing.assert_frame_equal(first.reset_index(drop=True), second.reset_index(drop=True), check_exact=True)


def both_ways(scenario: Scenario, rows: list[Row], host: Host = NO_DELAY) -> ArmResult:
    leaping = serve(scenario, rows, host.over)
    assert_same(leaping, serve(scenario, rows, host.over, StepwiseEngine))
    return leaping


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("prefill", [True, False], ids=["prefill", "decode-only"])
def test_every_router_sees_the_same_loads(router: str, prefill: bool, profile: Path) -> None:
    drawn = crowd(router=router, prefill=prefill)
    both_ways(drawn.scenario(profile), drawn.rows)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known["known"])
@pytest.mark.parametrize("router", [*sorted(ADAPTIVE), "least-tokens"])
def test_routers_that_know_of_outputs_see_the_same_promises(
    router: str, known: dict[str, object], profile: Path
) -> None:
    drawn = crowd(router=router, decode={"output_lengths": known})
    both_ways(drawn.scenario(profile), drawn.rows)


@pytest.mark.parametrize("first_token", ["decode", "prefill"])
@pytest.mark.parametrize("policy", ["shared", "isolated"])
def test_both_policies_and_first_tokens(first_token: str, policy: str, profile: Path) -> None:
    workers = 2 if policy == "shared" else {"a": 2, "b": 1}
    drawn = crowd(first_token=first_token, decode={"policy": policy, "workers": workers})
    both_ways(drawn.scenario(profile), drawn.rows)


@pytest.mark.parametrize("prefill", [True, False], ids=["prefill", "decode-only"])
@pytest.mark.parametrize("policy", ["shared", "isolated"])
def test_preemptions_fall_on_the_same_requests(policy: str, prefill: bool, profile: Path) -> None:
    workers = 2 if policy == "shared" else {"a": 1, "b": 1}
    scarce = {"policy": policy, "workers": workers, "num_gpu_blocks": LEAST_BLOCKS + 6}
    drawn = crowd(prefill=prefill, decode=scarce)
    result = both_ways(drawn.scenario(profile), drawn.rows)
    assert result.rows["preemptions"].sum() > 0


def test_colocated_workers_preempt_the_same_requests(profile: Path) -> None:
    workers = {"policy": "isolated", "workers": {"a": 1, "b": 1}, "max_num_seqs": 8, "max_num_batched_tokens": 60}
    drawn = replace(crowd(), pools={"colocated": workers | {"num_gpu_blocks": LEAST_BLOCKS + 6}})
    result = both_ways(drawn.scenario(profile), drawn.rows)
    assert result.rows["preemptions"].sum() > 0
    assert {worker.name for worker in result.workers} == {"colocated/a/0", "colocated/b/0"}


@pytest.mark.parametrize("stages", [("prefill", "decode"), ("colocated",)], ids=["disaggregated", "colocated"])
def test_adapters(stages: tuple[str, ...], tmp_path: Path) -> None:
    profile = write_profile(tmp_path, **PROFILE, variant="lora-r16")
    shared = {"policy": "shared", "workers": 2, "max_num_seqs": 8, "max_num_batched_tokens": 60}
    scarce = dict.fromkeys(stages, shared | {"num_gpu_blocks": LEAST_BLOCKS + 6})
    drawn = replace(crowd(), pools=scarce)
    result = both_ways(drawn.scenario(profile), drawn.rows)
    assert result.rows["preemptions"].sum() > 0


@given(drawn=clusters())
@settings(deadline=None, max_examples=200)
def test_any_cluster(drawn: Drawn, profile: Path) -> None:
    both_ways(drawn.scenario(profile), drawn.rows, drawn.host)


@given(drawn=elastic_clusters())
@settings(deadline=None, max_examples=80)
def test_any_elastic_cluster(drawn: Drawn, profile: Path) -> None:
    both_ways(drawn.scenario(profile), drawn.rows, drawn.host)


@given(drawn=clusters(), limit_s=st.floats(0.001, 1.0))
@settings(deadline=None, max_examples=100)
def test_any_cluster_stopped_at_any_time(drawn: Drawn, limit_s: float, profile: Path) -> None:
    both_ways(drawn.scenario(profile, stop={"when": "time", "limit_s": limit_s}), drawn.rows, drawn.host)


@pytest.mark.parametrize("file", SHIPPED, ids=[file.stem for file in SHIPPED])
def test_the_beginning_of_every_shipped_scenario(file: Path) -> None:
    scenario = load_scenario(file)
    requests = build_requests(scenario)
    first = np.cumsum(requests.output_tokens) <= FIRST_TOKENS
    requests = requests.where(first & (np.arange(len(requests)) < FIRST_REQUESTS))
    for arm in scenario.arms:
        leaping = simulate_arm(scenario, arm, requests)
        with driven_by(StepwiseEngine):
            assert_same(leaping, simulate_arm(scenario, arm, requests))
