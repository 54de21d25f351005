"""A whole cluster of leaping engines that draft does what one of step-by-step engines does, to the picosecond."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.records import ArmResult
from tests.cluster.draft_worlds import drafting_clusters, over, with_drafts, write_families
from tests.cluster.drawn import LEAST_BLOCKS, Drawn, crowd
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.test_cluster_twin import assert_same
from tests.cluster.worlds import serve

THREE = {"num_speculative_tokens": 3, "synthetic_acceptance_rates": [0.75, 0.55, 0.4]}
SCARCE = {"num_gpu_blocks": LEAST_BLOCKS + 6, "max_num_seqs": 8, "max_num_batched_tokens": 60}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_families(tmp_path_factory.mktemp("profiles"))


def both_ways(drawn: Drawn, profile: Path, **blocks: Any) -> ArmResult:
    scenario = drawn.scenario(profile, **blocks)
    leaping = serve(scenario, drawn.rows, over(drawn.host))
    assert_same(leaping, serve(scenario, drawn.rows, over(drawn.host), StepwiseEngine))
    return leaping


@pytest.mark.parametrize("first_token", ["decode", "prefill"])
@pytest.mark.parametrize("prefill", [True, False], ids=["prefill", "decode-only"])
def test_preemptions_fall_on_the_same_requests(first_token: str, prefill: bool, profile: Path) -> None:
    drawn = with_drafts(crowd(prefill=prefill, first_token=first_token, decode=SCARCE), "decode", THREE)
    assert both_ways(drawn, profile).rows["preemptions"].sum() > 0


def test_colocated_workers_preempt_the_same_requests(profile: Path) -> None:
    workers = {"policy": "isolated", "workers": {"a": 1, "b": 1}}
    drawn = with_drafts(replace(crowd(), pools={"colocated": workers | SCARCE}), "colocated", THREE)
    assert both_ways(drawn, profile).rows["preemptions"].sum() > 0


@given(drawn=drafting_clusters(some_elastic=True))
@settings(deadline=None, max_examples=120)
def test_any_cluster(drawn: Drawn, profile: Path) -> None:
    both_ways(drawn, profile)


@given(drawn=drafting_clusters(), limit_s=st.floats(0.001, 1.0))
@settings(deadline=None, max_examples=60)
def test_any_cluster_stopped_at_any_time(drawn: Drawn, limit_s: float, profile: Path) -> None:
    both_ways(drawn, profile, stop={"when": "time", "limit_s": limit_s})
