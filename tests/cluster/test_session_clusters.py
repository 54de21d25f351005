"""Any cluster over any sessions: two engines agree, every round comes once, and only what was lacking is moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.cluster.engine import Engine
from sunsim.cluster.simulation import simulate_arm
from sunsim.records import ArmResult
from sunsim.scenario import Scenario
from tests.cluster.draft_worlds import drafting_pool, over, speculation, write_families
from tests.cluster.drawn import NO_DELAY, PROFILE, convertible, elastic, hosts, pools
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.talks import Round, Talk, requests_of
from tests.cluster.test_conservation import Checked, keeping
from tests.cluster.worlds import Host, driven_by, pool, scenario, write_link

PS = 1e-12
BLOCK_SIZE = PROFILE["block_size"]
AFFINE = ["session-affinity", "prefix-affinity"]


@dataclass(frozen=True)
class Drawn:
    """A cluster, but for its profile, and its sessions."""

    models: list[str]
    pools: dict[str, dict[str, Any]]
    blocks: dict[str, Any]
    talks: list[Talk]
    system: int
    host: Host = NO_DELAY

    def scenario(self, profile: Path, **blocks: Any) -> Scenario:
        if self.blocks["measured"]:
            name = self.blocks["measured"]
            blocks["transfer"] = {"measured": str(write_link(profile.with_name(name), beside=name == "beside.json"))}
        drawn = {key: value for key, value in self.blocks.items() if key != "measured"}
        return scenario(self.models, {stage: pool(profile, **o) for stage, o in self.pools.items()}, **(drawn | blocks))


@st.composite
def cached(draw: st.DrawFn, /, models: list[str], least_blocks: int, **options: Any) -> dict[str, Any]:
    """A pool with caches, and maybe a router that looks at the request."""
    drawn: dict[str, Any] = draw(pools(models, adaptive=False))
    drawn |= {"num_gpu_blocks": least_blocks + draw(st.integers(0, 30)), "enable_prefix_caching": True}
    router = draw(st.sampled_from([None, *AFFINE]))
    if router:
        drawn["router"] = router
        drawn["max_imbalance"] = draw(st.integers(0, 3)) if router == "prefix-affinity" else None
    return drawn | options


@st.composite
def stages(draw: st.DrawFn, models: list[str], least: int) -> dict[str, dict[str, Any]]:
    """Colocated workers, or prefill and decode with any of what may become of later rounds."""
    if draw(st.booleans()):
        own = {"policy": "isolated", "workers": {name: draw(st.integers(1, 2)) for name in models}}
        return {"colocated": draw(cached(models, least)) | own}
    prefill = draw(cached(models, least))
    if prefill["policy"] == "shared":
        prefill["module"] = draw(st.sampled_from(["own", "shared"]))
    append = draw(st.sampled_from(["remote", "local", "auto"]))
    decode = draw(cached(models, least, append_prefill=append, history=draw(st.sampled_from(["rebuild", "keep"]))))
    if append == "auto":
        decode["append_rule"] = draw(st.sampled_from(["bounded", "slack"]))
    elif append == "remote":
        decode["convertible"] = draw(st.none() | convertible(least))
    return {"prefill": prefill, "decode": decode}


@st.composite
def clusters(draw: st.DrawFn) -> Drawn:
    """Up to eight sessions of up to five rounds, in which models may take turns; prompts may be equal to the token."""
    models = [f"m{i}" for i in range(draw(st.integers(1, 3)))]
    system = draw(st.integers(0, 9))
    gap_ps = draw(st.sampled_from([10**7, 10**10, 3 * 10**11]))
    a_round = st.builds(
        Round,
        st.integers(0, len(models) - 1),
        st.integers(0 if system else 1, 12),
        st.integers(1, 20),
        st.integers(0, gap_ps),
    )
    talks, now = [], 0
    for gap, rounds in draw(
        st.lists(st.tuples(st.integers(0, gap_ps), st.lists(a_round, min_size=1, max_size=5)), min_size=1, max_size=8)
    ):
        now += gap
        talks.append(Talk(now, rounds))
    blocks = {
        "seed": draw(st.integers(0, 9)),
        "first_token": draw(st.sampled_from(["decode", "prefill"])),
        "slo": {"ttft_ms": 30.0, "tpot_ms": 8.0},
        "measured": draw(st.sampled_from([None, "link.json", "beside.json"])),
    }
    longest = system + max(sum(each.new + each.output for each in talk.rounds) for talk in talks)
    least_blocks = -(-longest // BLOCK_SIZE) + 1
    pools = draw(stages(models, least_blocks))
    last = "colocated" if "colocated" in pools else "decode"
    if draw(st.booleans()):
        pools[last] = drafting_pool(pools[last], draw(speculation(models)))
    return Drawn(models, pools, blocks, talks, system, draw(hosts()))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_families(tmp_path_factory.mktemp("profiles"))


def serve(drawn: Drawn, profile: Path, engine: type[Engine | StepwiseEngine] = Engine, **blocks: Any) -> ArmResult:
    world = drawn.scenario(profile, **blocks)
    requests = requests_of(world.model_names, drawn.talks, drawn.system)
    with driven_by(engine):
        return simulate_arm(world, world.arms[0], requests, times_on=over(drawn.host))


@given(drawn=clusters())
@settings(deadline=None, max_examples=150)
def test_both_engines_agree(drawn: Drawn, profile: Path) -> None:
    leaping, stepping = serve(drawn, profile), serve(drawn, profile, StepwiseEngine)
    pd.testing.assert_frame_equal(leaping.rows, stepping.rows, check_exact=True)
    assert leaping.workers == stepping.workers


@st.composite
def elastic_clusters(draw: st.DrawFn) -> Drawn:
    """Any cluster whose stages are elastic."""
    drawn = draw(clusters())
    pools = {stage: draw(elastic(pool, stage, future=False)) for stage, pool in drawn.pools.items()}
    if "decode" in pools:
        pools["decode"] |= {"append_prefill": "remote", "append_rule": None, "history": "rebuild"}
    return replace(drawn, pools=pools)


@given(drawn=elastic_clusters())
@settings(deadline=None, max_examples=50)
def test_both_engines_agree_where_workers_come_and_go(drawn: Drawn, profile: Path) -> None:
    engines: list[Checked] = []
    leaping, stepping = serve(drawn, profile, keeping(engines)), serve(drawn, profile, StepwiseEngine)
    pd.testing.assert_frame_equal(leaping.rows, stepping.rows, check_exact=True)
    assert leaping.workers == stepping.workers
    assert leaping.sizes is not None
    assert stepping.sizes is not None
    pd.testing.assert_frame_equal(leaping.sizes, stepping.sizes, check_exact=True)
    for engine in engines:
        engine.check_idle()


@given(drawn=clusters(), share=st.floats(0.01, 1.2))
@settings(deadline=None, max_examples=60)
def test_a_run_stopped_early_has_the_rounds_that_came(drawn: Drawn, share: float, profile: Path) -> None:
    whole = serve(drawn, profile).rows
    limit_s = share * float(whole["last_token_s"].max())
    rows = serve(drawn, profile, stop={"when": "time", "limit_s": limit_s}).rows
    came = whole[(whole["round"] == 0) | (whole["arrival_s"] < limit_s)]
    columns = ["request_id", "model", "arrival_s", "prompt_tokens", "output_tokens", "session", "round"]
    pd.testing.assert_frame_equal(rows[columns], came[columns].reset_index(drop=True))
    ended = came["last_token_s"].reset_index(drop=True) < limit_s
    assert (rows["outcome"] == "finished").tolist() == ended.tolist()


@given(drawn=clusters())
@settings(deadline=None, max_examples=120)
def test_every_round_comes_once_after_the_one_before(drawn: Drawn, profile: Path) -> None:
    engines: list[Checked] = []
    rows = serve(drawn, profile, keeping(engines)).rows
    for engine in engines:
        engine.check_idle()
    rounds = [(s, r, each) for s, talk in enumerate(drawn.talks) for r, each in enumerate(talk.rounds)]
    assert set(rows["outcome"]) == {"finished"}
    assert list(zip(rows["session"], rows["round"], strict=True)) == [(s, r) for s, r, _ in rounds]
    assert list(rows["output_tokens"]) == [each.output for *_, each in rounds]
    texts = drawn.system + rows.groupby("session")["output_tokens"].cumsum() - rows["output_tokens"]
    new = pd.Series([each.new for *_, each in rounds]).groupby(rows["session"]).cumsum()
    assert list(rows["prompt_tokens"]) == list(texts + new)
    think_s = np.array([each.think_ps * PS for *_, each in rounds])
    waited_s = rows["arrival_s"] - rows["last_token_s"].shift()
    later = rows["round"] > 0
    np.testing.assert_allclose(waited_s[later], think_s[later], rtol=0, atol=PS)
    begins_s = np.array([talk.arrival_ps * PS for talk in drawn.talks])
    np.testing.assert_allclose(rows["arrival_s"][~later], begins_s, rtol=1e-12)


@given(drawn=clusters())
@settings(deadline=None, max_examples=120)
def test_what_is_found_is_neither_computed_nor_moved(drawn: Drawn, profile: Path) -> None:
    result = serve(drawn, profile)
    rows, first = result.rows, drawn.blocks["first_token"] == "prefill"
    assert (rows["cached_tokens"] % BLOCK_SIZE == 0).all()
    assert (rows["cached_tokens"] < rows["prompt_tokens"]).all()
    disaggregated = "prefill" in drawn.pools
    assert rows["appended"].isna().all() == (not disaggregated)
    if not disaggregated:
        assert (rows["moved_tokens"] == 0).all()
        return
    local = rows["appended"] == "local"
    assert drawn.pools["decode"].get("convertible") or not local[rows["round"] == 0].any()
    assert rows["prefill_worker"].isna().equals(local)
    assert (rows["moved_tokens"][local] == 0).all()
    undisturbed = rows["preemptions"] == 0
    pulled = ~local & (rows["output_tokens"] > first) & undisturbed
    keeps = drawn.pools["decode"]["history"] == "keep"
    most = 2 * rows["prompt_tokens"] if keeps else rows["prompt_tokens"]
    # The token that prefill made is in no block, so that all of a prompt may be found.
    assert first or (rows["moved_tokens"][pulled] > 0).all()
    assert rows["transfer_end_s"][pulled].notna().all()
    assert (rows["moved_tokens"] <= most)[undisturbed].all()
    hits = sum(worker.prefix_cache_hits for worker in result.workers)
    assert hits <= sum(worker.prefix_cache_queries for worker in result.workers)
    if undisturbed.all() and not keeps:
        decode = [worker for worker in result.workers if worker.name.startswith("decode")]
        found = sum(worker.prefix_cache_hits for worker in decode) - rows["cached_tokens"][local].sum()
        assert rows["moved_tokens"].sum() == rows["prompt_tokens"][pulled].sum() - found


def test_an_affine_router_and_a_shared_module_find_more(profile: Path) -> None:
    talks = [Talk(i * 10**9, [Round(r % 2, 12, 8, 10**9) for r in range(5)]) for i in range(8)]
    shares = {}
    for module, router in (("own", "random"), ("own", "prefix-affinity"), ("shared", "prefix-affinity")):
        caches = {"policy": "shared", "workers": 2, "enable_prefix_caching": True, "router": router}
        caches["max_imbalance"] = 32 if router == "prefix-affinity" else None
        drawn = Drawn(["a", "b"], {"prefill": caches | {"module": module}}, {"measured": None}, talks, 9)
        rows = serve(drawn, profile).rows
        shares[module, router] = rows["cached_tokens"].sum() / rows["prompt_tokens"].sum()
    assert shares["own", "random"] < shares["own", "prefix-affinity"] < shares["shared", "prefix-affinity"]
