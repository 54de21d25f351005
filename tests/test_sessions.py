"""Sessions through the verbs and from Python: what each makes of them, or why it refuses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sunsim
from sunsim.metrics.sessions import COUNTERS
from sunsim.records import CACHE_COLUMNS, REQUEST_COLUMNS, SESSION_COLUMNS, WORKER_COLUMNS
from sunsim.result import Result
from sunsim.scenario import build_requests
from tests.plan.small import invoke, write_plan
from tests.plan.test_sessions import SCENARIO

SWEEP = "sweep: {seeds: 2, over: {workload.rounds.mean: [1.5, 4]}}\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("talks"), "", SCENARIO)


@pytest.fixture(scope="module")
def result(file: Path) -> Result:
    return sunsim.simulate(sunsim.load(file))


def test_rows_and_workers_have_further_columns(result: Result) -> None:
    columns = [column.name for column in (*REQUEST_COLUMNS, *SESSION_COLUMNS)]
    assert list(result.requests.columns) == columns
    assert {column.name for column in (*WORKER_COLUMNS, *CACHE_COLUMNS)} | {"arm", "worker"} == set(
        result.workers.columns
    )


def test_figures_are_those_of_the_rows(result: Result) -> None:
    """From the rows by pandas alone."""
    window = result.summary["window"]
    for name, entry in result.summary["arms"].items():
        rows = result.requests[result.requests["arm"] == name]
        inside = rows[rows["arrival_s"].between(window["start_s"], window["end_s"])]
        assert entry["cached_share"] == pytest.approx(inside["cached_tokens"].sum() / inside["prompt_tokens"].sum())
        ttft_ms = (inside["first_token_s"] - inside["arrival_s"]) * 1000
        by_round = ttft_ms.groupby(inside["round"]).agg(["count", "mean", "median"])
        assert [own["round"] for own in entry["rounds"]] == by_round.index.tolist()
        assert [own["window_requests"] for own in entry["rounds"]] == by_round["count"].tolist()
        assert [own["mean_ttft_ms"] for own in entry["rounds"]] == pytest.approx(by_round["mean"].tolist())
        spans = rows.groupby("session").agg({"arrival_s": "min", "last_token_s": "max"})
        spans = spans[spans["arrival_s"].between(window["start_s"], window["end_s"])]
        assert entry["sessions"] == len(spans)
        assert entry["median_session_duration_s"] == pytest.approx(
            (spans["last_token_s"] - spans["arrival_s"]).median()
        )
        workers = result.workers[result.workers["arm"] == name]
        assert [entry[tag] for tag in COUNTERS] == workers[list(COUNTERS)].sum().tolist()


def test_the_window_ends_with_the_last_first_round(result: Result) -> None:
    rows = result.requests
    assert result.summary["window"]["end_s"] == rows[rows["round"] == 0]["arrival_s"].max()
    assert rows["arrival_s"].max() > result.summary["window"]["end_s"]


def test_with_a_session_s_own_prefill_worker_all_but_a_block_of_the_history_is_found(result: Result) -> None:
    """A prompt finds whole blocks of 16 of its history, or of it without the answer's last token."""
    rows = result.requests[result.requests["arm"] == "own"].sort_values(["session", "round"])
    history = (rows["prompt_tokens"] + rows["output_tokens"]).shift()
    later = rows["round"] > 0
    # Decode made the answers, prefill only the prompt before them.
    known = rows["prompt_tokens"].shift()[later] // 16 * 16
    assert (rows["cached_tokens"][later] >= known).all()
    assert (rows["cached_tokens"][later] <= history[later]).all()
    entry = result.summary["arms"]["own"]
    assert 0 < entry["recomputed_share"] < 0.2
    assert result.summary["arms"]["whole"]["recomputed_share"] == 1


def test_what_is_saved_is_read_again(tmp_path: Path, result: Result) -> None:
    names = result.save(tmp_path / "out")
    assert "rounds.png" in names
    again = sunsim.read(tmp_path / "out")
    assert again.summary == result.summary
    pd.testing.assert_frame_equal(again.requests, result.requests)


def test_a_stop_leaves_out_what_it_cut_off(file: Path) -> None:
    stopped = sunsim.simulate(sunsim.load(file, ["stop={when: time, limit_s: 3}"]))
    entry = stopped.summary["arms"]["own"]
    assert entry["unfinished"] > 0
    rows = stopped.requests[stopped.requests["arm"] == "own"]
    whole = (rows["outcome"] == "finished").groupby(rows["session"]).all()
    spans = rows.groupby("session").agg({"arrival_s": "min", "last_token_s": "max"})[whole]
    spans = spans[spans["arrival_s"] >= stopped.summary["window"]["start_s"]]
    assert entry["mean_session_duration_s"] == pytest.approx((spans["last_token_s"] - spans["arrival_s"]).mean())
    assert np.isfinite(entry["p99_session_duration_s"])


def test_a_sweep_shows_what_was_cached(tmp_path: Path) -> None:
    file = write_plan(tmp_path, SWEEP, SCENARIO)
    code, stdout, stderr = invoke("sweep", file, "--out", tmp_path / "out", "--jobs", 1)
    assert (code, stderr) == (0, "")
    assert "cached" in stdout
    assert "session mean" in stdout
    points = pd.read_parquet(tmp_path / "out" / "sweep.parquet")
    share = points[points["arm"] == "own"].groupby("workload.rounds.mean")["cached_share"].mean()
    assert 0 < share[1.5] < share[4.0] < 1
    assert "rounds" not in points


def test_two_runs_are_compared_by_what_they_cached(tmp_path: Path, file: Path, result: Result) -> None:
    result.save(tmp_path / "before")
    sunsim.simulate(sunsim.load(file, ["workload.rounds.mean=1.5"])).save(tmp_path / "after")
    code, stdout, stderr = invoke("compare", tmp_path / "before", tmp_path / "after")
    assert (code, stderr) == (0, "")
    for header in ("  cached", "  computed again", "  session mean s", "  KV moved GB"):
        assert header in stdout


def test_streams_of_workers_would_lose_what_rounds_have_in_common(tmp_path: Path, file: Path) -> None:
    code, stdout, stderr = invoke("split", file, "--out", tmp_path / "out")
    assert (code, stdout) == (2, "")
    assert stderr.splitlines() == [stderr.rstrip("\n")]
    assert "has requests that are rounds of sessions, must have none" in stderr
    assert not (tmp_path / "out").exists()


def test_prefill_lets_go_of_what_a_preempted_request_finds_on_its_decode_worker() -> None:
    """Else the prefill worker's blocks are held for good, and what comes after them waits for ever."""
    pool = "profile: h100-80gb/llama-3.1-8b-bf16, workers: 2, num_gpu_blocks: 140, enable_prefix_caching: true"
    arm = f"{{name: tight, prefill: {{{pool}, policy: isolated}}, decode: {{{pool}, policy: shared}}}}"
    scenario = sunsim.load(
        "sessions",
        [
            f"arms=[{arm}]",
            "workload.duration_s=6",
            "measure.warmup_s=0",
            "workload.arrivals.rate_rps=6",
            "workload.think_s.mean=0.5",
            "workload.rounds={mean: 4, max: 9}",
            "workload.user={kind: lognormal, median_tokens: 80, sigma: 0.8, max_tokens: 300}",
            "workload.output={kind: lognormal, median_tokens: 60, sigma: 0.9, max_tokens: 400}",
        ],
        seed=10,
    )
    rows = sunsim.simulate(scenario).requests
    assert rows["preemptions"].sum() > 0
    assert len(rows) == len(build_requests(scenario))
    assert (rows["outcome"] == "finished").all()
