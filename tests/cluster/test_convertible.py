"""Decode workers that take whole requests, to the picosecond; and in any cluster both engines agree and nothing is lost.

On the cluster a step takes 10 us and 1 us more a prompt token, a token's KV takes 20 us on the link.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st

from sunsim.cluster.engine import Engine
from sunsim.latency.steps import WorkerTimes
from sunsim.latency.velocity import prefill_velocity
from sunsim.records import ArmResult
from sunsim.scenario import Scenario
from tests.cluster.drawn import PROFILE, Drawn, clusters, convertible
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.test_conservation import Checked, keeping
from tests.cluster.worlds import (
    Host,
    Hosted,
    Neighbours,
    Row,
    Steps,
    config,
    given,
    play,
    pool,
    prompt,
    pulled,
    scenario,
    serve,
    stamps,
    write_profile,
)

US = 10**6
STEPS = Steps(10, token=1)


def test_a_chunk_beside_decodes_is_cut() -> None:
    decoding, late = given(output_tokens=10), prompt(20, output_tokens=2)
    play(Engine(config(max_prefill_chunk_tokens=8), STEPS), [(0, decoding), (5, late)])
    # 10, 20: decodes. Then 8, 8 and 4 prompt tokens beside: 38, 56, 70.
    assert stamps(late) == (10, 20, 70, 80)
    assert decoding.last_ps == 120


def test_no_step_beside_a_decode_has_more_than_its_chunk() -> None:
    decoding, prompts = given(output_tokens=38), [(5 + i, prompt(12)) for i in range(30)]
    play(Engine(config(max_prefill_chunk_tokens=10), STEPS), [(0, decoding), *prompts])
    # Two steps alone, and 36 with ten of the 360 prompt tokens, whosever they are.
    assert decoding.last_ps == 2 * 10 + 36 * 20
    assert max(request.last_ps for _, request in prompts) == decoding.last_ps


def test_a_chunk_alone_is_not() -> None:
    request = prompt(20, output_tokens=2)
    play(Engine(config(max_prefill_chunk_tokens=8), STEPS), [(0, request)])
    assert stamps(request) == (0, 0, 30, 40)


def test_whoever_computes_no_prompt_waits_behind_none() -> None:
    decoding, first, second, third = given(output_tokens=20), prompt(20), prompt(4), pulled(5, output_tokens=2)
    arrivals = [(0, decoding), (5, first), (5, second), (5, third)]
    play(Engine(config(max_prefill_chunk_tokens=8), STEPS), arrivals, Neighbours(transfer=7))
    # At 10 the first 8 tokens are taken and the KV is asked for; it is there at 17 and goes into the step from 38 on,
    # with 8 tokens more. The next one, from 56 on, has the last 4 and all of the second prompt.
    assert stamps(third) == (20, 38, 56, 74)
    assert stamps(first) == (10, 20, 74, 74)
    assert stamps(second) == (38, 56, 74, 74)


def test_a_prompt_under_way_gives_way_to_one_admitted_later() -> None:
    under_way, later = prompt(15), pulled(4, output_tokens=5)
    options = {"max_prefill_chunk_tokens": 4, "block_size": 4, "num_gpu_blocks": 7}
    arrivals = [(0, given(output_tokens=9, prompt_tokens=4)), (5, under_way), (5, later)]
    engine = Engine(config(**options), STEPS)
    play(engine, arrivals, Neighbours(transfer=1))
    # Each of the two decodes needs a second block before the prompt has its fourth.
    assert engine.preemptions == under_way.preemptions == 1
    assert later.last_ps < under_way.last_ps


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profile(tmp_path_factory.mktemp("profile"), **PROFILE)


def times(_: WorkerTimes) -> WorkerTimes:
    return Hosted(Steps(10 * US, token=1 * US), Host())


def cluster(
    profile: Path, decode: dict[str, Any] | None = None, *, behind_tokens: int = 10, workers: int = 1, **blocks: Any
) -> Scenario:
    """One prefill worker, behind when it has more than so many tokens, and as many convertible workers of decode."""
    stages = {"prefill": pool(profile), "decode": pool(profile, **(decode or {}))}
    blocks = {"transfer": {"bandwidth_gbit_s": 400.0, "latency_ms": 0.0}} | blocks
    prefill = scenario(["a"], stages).arms[0].prefill
    assert prefill
    velocity = prefill_velocity(prefill.times, prefill.max_num_batched_tokens)
    block = {"max_chunk_tokens": 8, "num_gpu_blocks": 10_000} | stages["decode"].pop("convertible", {})
    stages["decode"]["convertible"] = block | {"workers": workers, "threshold_s": behind_tokens / velocity}
    return scenario(["a"], stages, **blocks)


def run(world: Scenario, rows: list[Row]) -> pd.DataFrame:
    """Served; both engines must agree."""
    leaping, stepping = serve(world, rows, times), serve(world, rows, times, StepwiseEngine)
    pd.testing.assert_frame_equal(leaping.rows, stepping.rows, check_exact=True)
    return leaping.rows


def us(rows: pd.DataFrame, column: str) -> list[float]:
    return list((rows[column] * 1e6).round(6))


def whole(rows: pd.DataFrame) -> list[bool]:
    """Of each request, whether a decode worker computed its prompt."""
    return list(rows["prefill_worker"].isna())


@pytest.mark.parametrize("first_token", ["decode", "prefill"])
@pytest.mark.parametrize("policy", ["shared", "isolated"])
def test_a_request_that_finds_prefill_behind_is_served_by_a_decode_worker(
    policy: str, first_token: str, profile: Path
) -> None:
    decode = {"policy": policy, "workers": 2 if policy == "shared" else {"a": 2}}
    rows = run(cluster(profile, decode, first_token=first_token), [(0, 0, 20, 5), (1 * US, 0, 20, 3)])
    assert whole(rows) == [False, True]
    assert rows["decode_worker"][1].endswith("/0")
    assert us(rows, "first_token_s")[1] == 1 + 10 + 20  # a step of its own, not cut
    assert us(rows, "last_token_s")[1] == 31 + 2 * 10
    for column in ("prefill_start_s", "prefill_end_s", "transfer_start_s", "transfer_end_s"):
        assert rows[column].isna()[1]


@pytest.mark.parametrize(("policy", "apart"), [("isolated", 0), ("shared", 10)])
def test_a_converted_prompt_is_computed_in_chunks_beside_decodes(policy: str, apart: int, profile: Path) -> None:
    # The first decodes from 94 on, when its KV has come: 14 us for its prompt and 80 for 4 tokens on the link. The
    # second keeps prefill busy until 245. The third comes in the step that ends at 204; the next one is launched. A shared
    # decoder computes prompts with their model's module, in a pass apart.
    decode = {"policy": policy, "workers": 1 if policy == "shared" else {"a": 1}}
    rows = run(cluster(profile, decode), [(0, 0, 4, 30), (195 * US, 0, 40, 1), (196 * US, 0, 20, 2)])
    assert whole(rows) == [False, False, True]
    assert us(rows, "decode_scheduled_s")[2] == 204
    assert us(rows, "first_token_s")[2] == 214 + (10 + 8) + (10 + 8) + (10 + 4) + 3 * apart
    assert us(rows, "last_token_s")[2] == us(rows, "first_token_s")[2] + 10
    assert us(rows, "last_token_s")[0] == 94 + 30 * 10 + 20 + 3 * apart


@pytest.mark.parametrize(("tokens", "converts"), [(10, False), (11, True)])
def test_prefill_is_behind_with_more_tokens_than_the_threshold_lets_it_have(
    tokens: int, converts: bool, profile: Path
) -> None:
    rows = run(cluster(profile), [(0, 0, tokens, 2), (1 * US, 0, 5, 2)])
    assert whole(rows) == [False, converts]


@pytest.mark.parametrize("lacks", [{"max_num_seqs": 1}, {"convertible": {"num_gpu_blocks": 1 + 17}}])
def test_a_worker_without_a_place_or_blocks_for_a_request_takes_none(lacks: dict[str, Any], profile: Path) -> None:
    # The first decodes, and has 44 tokens at 500 us; with 30 more there would be more than 17 blocks of 4 hold.
    rows = run(cluster(profile, lacks), [(0, 0, 4, 60), (500 * US, 0, 20, 2), (501 * US, 0, 30, 2)])
    assert whole(rows) == [False, False, False]
    roomy = {key: 2 if key == "max_num_seqs" else {"num_gpu_blocks": 40} for key in lacks}
    rows = run(cluster(profile, roomy), [(0, 0, 4, 60), (500 * US, 0, 20, 2), (501 * US, 0, 30, 2)])
    assert whole(rows) == [False, False, True]


def test_requests_go_to_the_convertible_worker_with_the_fewest(profile: Path) -> None:
    # The first two decode, on workers 0 and 1; of the three only 0 and 1 are convertible. One ends before the others come.
    arrivals = [(0, 0, 4, 99), (1, 0, 4, 9), (500 * US, 0, 50, 2), *[(500 * US + i, 0, 5, 9) for i in (1, 2, 3)]]
    decode = {"workers": 3, "convertible": {"max_chunk_tokens": 4096}}
    rows = run(cluster(profile, decode, behind_tokens=45, workers=2), arrivals)
    assert whole(rows) == [False, False, False, True, True, True]
    assert [name.rpartition("/")[2] for name in rows["decode_worker"][3:]] == ["1", "0", "1"]


def test_a_burst_does_not_all_wait_at_the_convertible_worker(profile: Path) -> None:
    # At 8 tokens a step the threshold is worth less than a token there, so one prompt at a time is computed.
    rows = run(cluster(profile), [(i * US, 0, 30, 2) for i in range(4)])
    assert whole(rows) == [False, True, False, False]


def test_of_an_elastic_pool_the_first_workers_that_serve_are_convertible(profile: Path) -> None:
    schedule = {"kind": "schedule", "workers": [[0, 2], [0.1, 1]], "interval_s": 0.1}
    decode = {"workers": {"min": 1, "max": 2}, "scaling": schedule}
    early = [(0, 0, 20, 2), (1 * US, 0, 5, 2)]
    # Worker 0 has ended its request at 100 ms, worker 1 has not, so 0 goes.
    late = [(50_000 * US, 0, 4, 9_999), (150_000 * US, 0, 20, 2), (150_001 * US, 0, 5, 2)]
    rows = run(cluster(profile, decode), early + late)
    assert whole(rows) == [False, True, False, False, True]
    kept = rows["decode_worker"][2]
    assert list(rows["decode_worker"][3:]) == [kept, kept]


@st.composite
def converting(draw: st.DrawFn) -> Drawn:
    """Any cluster with prefill and convertible decode workers, and crowded requests."""
    drawn = draw(clusters(("both",)))
    decode = drawn.pools["decode"] | {"convertible": draw(convertible())}
    return replace(drawn, pools=drawn.pools | {"decode": decode}, rows=[(row[0] // 4, *row[1:]) for row in drawn.rows])


@drawn_from(drawn=converting())
@settings(deadline=None, max_examples=30)
def test_in_any_cluster_nothing_is_lost_or_served_twice(drawn: Drawn, profile: Path) -> None:
    engines: list[Checked] = []
    world = drawn.scenario(profile)
    leaping: ArmResult = serve(world, drawn.rows, drawn.host.over, keeping(engines))
    stepping = serve(world, drawn.rows, drawn.host.over, StepwiseEngine)
    pd.testing.assert_frame_equal(leaping.rows, stepping.rows, check_exact=True)
    assert leaping.workers == stepping.workers
    for engine in engines:
        engine.check_idle()
    rows = leaping.rows
    assert set(rows["outcome"]) == {"finished"}
    converted = rows[rows["prefill_worker"].isna()]
    number = drawn.pools["decode"]["convertible"]["workers"]
    assert (converted["decode_worker"].str.split("/").str[-1].astype(int) < number).all()
    computed = sum(engine.finished for engine in engines if engine.config.pin_finished)
    evicted = sum(engine.evicted for engine in engines)
    assert computed == len(rows) - len(converted) + evicted
    held = {engine.config.num_gpu_blocks for engine in engines if engine.config.max_prefill_chunk_tokens}
    assert held == {drawn.pools["decode"]["convertible"]["num_gpu_blocks"]}
