"""Nothing is lost, made up or held for ever, whatever the cluster: requests, tokens, KV blocks and places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.clock import to_ps, to_s
from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import Sequence
from sunsim.latency.steps import StepTimes
from tests.cluster.drawn import LEAST_BLOCKS, PROFILE, Drawn, clusters, crowd
from tests.cluster.worlds import Doubled, serve, write_profile

STAGES = ["arrival", "prefill_start", "prefill_end", "transfer_start", "transfer_end", "decode_scheduled"]
STAMPS = [f"{stage}_s" for stage in [*STAGES, "decode_first_token", "last_token"]]
LATENCIES = [f"{stage}_s" for stage in [*STAGES, "decode_first_token", "first_token", "last_token"]]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profile(tmp_path_factory.mktemp("profile"), **PROFILE)


class Checked(Engine):
    """Looks at its blocks and places whenever something happens, and keeps count of what passes through."""

    def __init__(
        self, config: EngineConfig, times: StepTimes, stalls: Iterable[tuple[int, int]], keys: BlockKeys | None = None
    ) -> None:
        super().__init__(config, times, stalls, keys)
        self.capacity = self.blocks.unused
        self.loading: set[Sequence] = set()
        self.submitted = self.finished = self.evicted = 0
        self.pinned = 0

    def check(self) -> None:
        assert 0 <= self.blocks.unused <= self.capacity
        self.loading -= set(self.running)
        assert len(self.running) + len(self.loading) <= self.config.max_num_seqs
        assert self.num_tokens >= 0

    def submit(self, now_ps: int, sequence: Sequence, *, first: bool = False) -> None:
        super().submit(now_ps, sequence, first=first)
        self.submitted += 1
        self.check()

    def release(self, now_ps: int, sequence: Sequence) -> None:
        super().release(now_ps, sequence)
        self.pinned -= 1
        self.check()

    def wake(self, now_ps: int) -> Outcome:
        outcome = super().wake(now_ps)
        assert len(set(outcome.finished)) == len(outcome.finished)
        self.finished += len(outcome.finished)
        self.evicted += len(outcome.evicted)
        self.pinned += len(outcome.finished) * self.config.pin_finished
        self.loading |= set(outcome.loads)
        self.check()
        return outcome

    def check_idle(self) -> None:
        """Everything that came has gone and has left nothing behind."""
        assert self.submitted == self.finished + self.evicted
        assert self.blocks.unused == self.capacity
        assert (len(self.running), len(self.loading), len(self.waiting)) == (0, 0, 0)
        assert self.blocks.pinned == self.pinned == 0
        assert self.num_tokens == 0


def keeping(engines: list[Checked]) -> type[Checked]:
    """The class, each new one of which is added to `engines`."""

    class Kept(Checked):
        def __init__(
            self,
            config: EngineConfig,
            times: StepTimes,
            stalls: Iterable[tuple[int, int]],
            keys: BlockKeys | None = None,
        ) -> None:
            super().__init__(config, times, stalls, keys)
            engines.append(self)

    return Kept


def run_checked(drawn: Drawn, profile: Path) -> tuple[pd.DataFrame, list[Checked]]:
    engines: list[Checked] = []
    return serve(drawn.scenario(profile), drawn.rows, drawn.host.over, keeping(engines)).rows, engines


@given(drawn=clusters())
@settings(deadline=None, max_examples=150)
def test_every_request_is_finished_once_and_all_is_given_back(drawn: Drawn, profile: Path) -> None:
    rows, engines = run_checked(drawn, profile)
    for engine in engines:
        engine.check_idle()
    assert list(rows["request_id"]) == list(range(len(drawn.rows)))
    assert set(rows["outcome"]) == {"finished"}
    asked = [(drawn.models[model], prompt, output) for _, model, prompt, output in drawn.rows]
    assert list(zip(rows["model"], rows["prompt_tokens"], rows["output_tokens"], strict=True)) == asked


@given(drawn=clusters())
@settings(deadline=None, max_examples=150)
def test_stamps_are_in_order_and_there_where_the_stage_is(drawn: Drawn, profile: Path) -> None:
    rows, _ = run_checked(drawn, profile)
    emits = "prefill" in drawn.pools and ("decode" not in drawn.pools or drawn.blocks["first_token"] == "prefill")
    for _, row in rows.iterrows():
        prefilled = isinstance(row["prefill_worker"], str)
        assert prefilled or "prefill" not in drawn.pools or drawn.pools["decode"].get("convertible")
        by_prefill = emits and prefilled
        stamps = [row[name] for name in STAMPS if not np.isnan(row[name])]
        assert all(one <= other for one, other in pairwise(stamps))
        decodes = list(drawn.pools) != ["prefill"] and row["output_tokens"] > by_prefill
        assert np.isnan(row["prefill_end_s"]) == (not prefilled)
        assert np.isnan(row["transfer_end_s"]) == (not decodes or not prefilled)
        assert np.isnan(row["decode_scheduled_s"]) == (not decodes)
        assert row["first_token_s"] == row["prefill_end_s" if by_prefill else "decode_first_token_s"]
        emitted_by_decode = row["output_tokens"] - by_prefill if decodes else 0
        assert (row["last_token_s"] > row["first_token_s"]) == (row["output_tokens"] > 1 and decodes)
        assert emitted_by_decode != 1 or row["decode_first_token_s"] == row["last_token_s"]


@pytest.mark.parametrize("policy", ["shared", "isolated"])
def test_only_a_shared_decoder_sends_preempted_requests_back_to_prefill(policy: str, profile: Path) -> None:
    workers = 2 if policy == "shared" else {"a": 1, "b": 1}
    drawn = crowd(decode={"policy": policy, "workers": workers, "num_gpu_blocks": LEAST_BLOCKS + 6})
    rows, engines = run_checked(drawn, profile)
    evicted = sum(engine.evicted for engine in engines)
    prefilled = sum(engine.finished for engine in engines if engine.config.pin_finished)
    assert rows["preemptions"].sum() > 0
    assert evicted > 0 if policy == "shared" else evicted == 0
    assert prefilled == len(rows) + evicted


@given(drawn=clusters())
@settings(deadline=None, max_examples=80)
def test_isolated_workers_serve_their_own_model_alone(drawn: Drawn, profile: Path) -> None:
    rows, _ = run_checked(drawn, profile)
    for stage, options in drawn.pools.items():
        column = "decode_worker" if stage == "colocated" else f"{stage}_worker"
        served = rows.dropna(subset=column)
        owner = served[column].str.split("/").str[1]
        assert (owner == (served["model"] if options["policy"] == "isolated" else "shared")).all()


@given(drawn=clusters(), share=st.floats(0.01, 1.2))
@settings(deadline=None, max_examples=80)
def test_a_run_stopped_early_is_the_beginning_of_the_whole_one(drawn: Drawn, share: float, profile: Path) -> None:
    whole = serve(drawn.scenario(profile), drawn.rows, drawn.host.over).rows
    limit_s = to_s(to_ps(share * float(whole["last_token_s"].max())))
    early = drawn.scenario(profile, stop={"when": "time", "limit_s": limit_s})
    stopped = serve(early, drawn.rows, drawn.host.over).rows
    assert len(stopped) == len(whole)
    for name in LATENCIES[1:]:
        expected = whole[name].where(whole[name] < limit_s)
        np.testing.assert_array_equal(stopped[name], expected, err_msg=name)
    assert list(stopped["outcome"]) == [
        "finished" if last < limit_s else "unfinished" for last in whole["last_token_s"]
    ]


@given(drawn=clusters(), more=st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_more_workers_lose_no_request(drawn: Drawn, more: int, profile: Path) -> None:
    def grown(workers: int | dict[str, int]) -> int | dict[str, int]:
        return workers + more if isinstance(workers, int) else {name: n + more for name, n in workers.items()}

    pools = {stage: options | {"workers": grown(options["workers"])} for stage, options in drawn.pools.items()}
    rows, engines = run_checked(replace(drawn, pools=pools), profile)
    assert set(rows["outcome"]) == {"finished"}
    for engine in engines:
        engine.check_idle()


@given(drawn=clusters())
@settings(deadline=None, max_examples=100)
def test_time_has_no_scale(drawn: Drawn, profile: Path) -> None:
    """Twice the step times, gaps, reports, transfer times and host's delays give exactly twice every latency."""

    if "measured" in drawn.blocks["transfer"]:
        drawn = replace(drawn, blocks=drawn.blocks | {"transfer": {"bandwidth_gbit_s": 10.0, "latency_ms": 0.1}})
    if len(drawn.pools) == 2:
        # Shares of a link are rounded up to a picosecond, so only transfers that share nothing double exactly.
        own = {"policy": "isolated", "workers": dict.fromkeys(drawn.models, 1)}
        pools = {"prefill": drawn.pools["prefill"] | own, "decode": drawn.pools["decode"] | own | {"max_num_seqs": 1}}
        drawn = replace(drawn, pools=pools)
    once = serve(drawn.scenario(profile), drawn.rows, drawn.host.over).rows
    link = drawn.blocks["transfer"]
    slow = {"bandwidth_gbit_s": link["bandwidth_gbit_s"] / 2, "latency_ms": link["latency_ms"] * 2}
    rows = [(2 * arrival, *rest) for arrival, *rest in drawn.rows]
    rare = {
        stage: options | {"load_report": report and {name: 2 * ms for name, ms in report.items()}}
        for stage, options in drawn.pools.items()
        for report in [options["load_report"]]
    }
    twice = serve(
        replace(drawn, pools=rare).scenario(profile, transfer=slow),
        rows,  # type: ignore[arg-type]
        lambda times: Doubled(drawn.host.over(times)),
    ).rows
    pd.testing.assert_frame_equal(twice[LATENCIES], 2 * once[LATENCIES], check_exact=True)
    same = ["prefill_worker", "decode_worker", "preemptions", "outcome"]
    pd.testing.assert_frame_equal(twice[same], once[same])


@given(drawn=clusters(), place=st.integers(0, 3))
@settings(deadline=None, max_examples=80)
def test_a_model_without_requests_changes_nothing_for_isolated_ones(drawn: Drawn, place: int, profile: Path) -> None:
    place = min(place, len(drawn.models))
    own = {"policy": "isolated", "workers": dict.fromkeys(drawn.models, 2)}
    drawn = replace(drawn, pools={stage: options | own for stage, options in drawn.pools.items()})
    models = [*drawn.models[:place], "idle", *drawn.models[place:]]
    pools = {stage: o | {"workers": dict.fromkeys(models, 2)} for stage, o in drawn.pools.items()}
    rows = [(arrival, model + (model >= place), *rest) for arrival, model, *rest in drawn.rows]
    before = serve(drawn.scenario(profile), drawn.rows, drawn.host.over).rows
    grown = replace(drawn, models=models, pools=pools).scenario(profile)
    after = serve(grown, rows, drawn.host.over).rows  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(after, before, check_exact=True, check_dtype=False, check_categorical=False)
