"""The streams of each worker: nothing lost, nothing moved, and what is said of their exactness."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from sunsim.arms import simulate_arms
from sunsim.cli import app
from sunsim.run import prepare
from sunsim.workload.traces.formats import read_trace
from tests.synthetic import synthetic_profile

SCENARIO = """\
name: small
seed: 3
models: {count: 2, popularity: {kind: zipf, alpha: 1.0}}
workload:
  kind: synthetic
  duration_s: 10
  arrivals: {kind: poisson, rate_rps: 20}
  lengths: {kind: lognormal, prompt: {median_tokens: 400, sigma: 0.8, max_tokens: 4000}, output: {median_tokens: 40, sigma: 0.8, max_tokens: 400}}
arms:
  - {name: turns, decode: {profile: p.json, policy: shared, router: round-robin, workers: 3}}
  - {name: least, decode: {profile: p.json, policy: shared, router: least-tokens, workers: 3}}
  - {name: own, decode: {profile: p.json, policy: isolated, workers: 2}}
  - name: both
    prefill: {profile: p.json, policy: shared, router: random, workers: 2}
    decode: {profile: p.json, policy: shared, router: round-robin, workers: 2}
  - {name: front, prefill: {profile: p.json, policy: isolated, workers: 2}}
"""
COLUMNS = ["arrival_s", "prompt_tokens", "output_tokens", "model", "request_id"]


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A scenario whose profile has front-end delays, which no stream may have."""
    first_tokens = [
        {
            "where": "idle",
            "prompt_tokens": 128,
            "submit_to_queued_ms": {"median": 1.5},
            "queued_to_scheduled_ms": {"median": 0.0},
            "first_token_to_client_ms": {"median": 2.0},
        }
    ]
    (tmp_path / "p.json").write_text(json.dumps(synthetic_profile(first_token_points=first_tokens)))
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


def split(scenario: Path, out: Path, *options: str) -> dict[str, Any]:
    """The index that the verb leaves."""
    result = CliRunner().invoke(app, ["split", str(scenario), "--out", str(out), *options], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    index: dict[str, Any] = json.loads((out / "split.json").read_text())
    return index


def streams(out: Path, entry: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """An arm's streams by worker."""
    files = {name: worker["file"] for name, worker in entry["workers"].items() if worker["file"]}
    return {name: pd.read_csv(out / file) for name, file in files.items()}


def test_streams_together_are_all_requests(scenario: Path, tmp_path: Path) -> None:
    index = split(scenario, tmp_path / "out")
    _, requests = prepare(scenario, (), None)
    assert index["requests"] == len(requests)
    for name, entry in index["arms"].items():
        tables = streams(tmp_path / "out", entry)
        together = pd.concat(tables.values()).sort_values("request_id")
        assert list(together.columns) == COLUMNS
        assert together["request_id"].tolist() == list(range(len(requests)))
        assert together["prompt_tokens"].tolist() == requests.prompt_tokens.tolist()
        assert together["output_tokens"].tolist() == requests.output_tokens.tolist()
        assert together["model"].tolist() == [requests.models[model] for model in requests.model]
        assert [entry["workers"][worker]["requests"] for worker in tables] == [len(table) for table in tables.values()]
        assert all(low <= high for table in tables.values() for low, high in pairwise(table["arrival_s"]))
        if name != "both":
            assert together["arrival_s"].tolist() == [round(ps / 1e12, 6) for ps in requests.arrival_ps.tolist()]


def test_streams_are_what_the_simulated_workers_got(scenario: Path, tmp_path: Path) -> None:
    index = split(scenario, tmp_path / "out")
    loaded, requests = prepare(scenario, (), None)
    for arm, result in zip(loaded.arms, simulate_arms(loaded, requests), strict=True):
        column = "decode_worker" if arm.decode else "prefill_worker"
        for worker, table in streams(tmp_path / "out", index["arms"][arm.name]).items():
            got = result.rows[result.rows[column] == worker]
            assert sorted(table["request_id"]) == sorted(got["request_id"])
            if arm.name == "both":
                assert sorted(table["arrival_s"]) == sorted(got["prefill_end_s"].round(6))


def test_round_robin_takes_turns(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tables = streams(out, split(scenario, out)["arms"]["turns"])
    assert [table["request_id"].tolist()[:3] for table in tables.values()] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_exactness(scenario: Path, tmp_path: Path) -> None:
    arms = split(scenario, tmp_path / "out")["arms"]
    assert {name: entry["exact"] for name, entry in arms.items()} == {
        "turns": True,
        "least": False,
        "own": True,
        "both": False,
        "front": True,
    }
    assert {name: entry["stage"] for name, entry in arms.items()} == {
        **dict.fromkeys(arms, "decode"),
        "front": "prefill",
    }


def test_workers_that_come_and_go_get_no_exact_streams(scenario: Path, tmp_path: Path) -> None:
    scaling = "{kind: request-rate, rps_per_worker: 8, interval_s: 1, start_s: 1}"
    arm = ["--set", "arms.turns.decode.workers={min: 1, max: 3}", "--set", f"arms.turns.decode.scaling={scaling}"]
    turns = split(scenario, tmp_path / "out", *arm)["arms"]["turns"]
    assert (turns["exact"], turns["why"]) == (False, "workers come and go, as simulated")
    assert sum(worker["requests"] for worker in turns["workers"].values()) == turns["requests"]


def test_prefill_streams_of_the_arms_that_prefill(scenario: Path, tmp_path: Path) -> None:
    arms = split(scenario, tmp_path / "out", "--stage", "prefill")["arms"]
    assert list(arms) == ["both", "front"]
    assert arms["both"]["exact"]
    assert sorted(path.name for path in (tmp_path / "out" / "both").iterdir()) == [
        "prefill-shared-0.csv",
        "prefill-shared-1.csv",
    ]


def test_a_first_token_from_prefill_is_part_of_the_prompt(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    index = split(scenario, out, "--set", "first_token=prefill")
    together = pd.concat(streams(out, index["arms"]["both"]).values()).set_index("request_id").sort_index()
    _, requests = prepare(scenario, (), None)
    more = requests.output_tokens > 1
    assert together.index.tolist() == more.nonzero()[0].tolist()
    assert together["prompt_tokens"].tolist() == (requests.prompt_tokens[more] + 1).tolist()
    assert together["output_tokens"].tolist() == (requests.output_tokens[more] - 1).tolist()
    assert index["arms"]["both"]["not_reached"] == int((~more).sum())


def test_what_a_stop_cuts_off_is_counted(scenario: Path, tmp_path: Path) -> None:
    entry = split(scenario, tmp_path / "out", "--set", "stop={when: time, limit_s: 5}")["arms"]["turns"]
    assert entry["not_reached"] > 0
    assert entry["requests"] + entry["not_reached"] == split(scenario, tmp_path / "all")["requests"]


def test_streams_are_traces(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for entry in split(scenario, out)["arms"].values():
        for worker in entry["workers"].values():
            assert len(read_trace(out / worker["file"], "csv").arrival_s) == worker["requests"]


def test_a_second_split_replaces_the_first(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    split(scenario, out)
    before = {path: path.read_bytes() for path in out.rglob("*.csv")}
    split(scenario, out, "--set", "arms.turns.decode.workers=2")
    assert len(list((out / "turns").iterdir())) == 2
    split(scenario, out)
    assert {path: path.read_bytes() for path in out.rglob("*.csv")} == before


def test_an_idle_worker_has_no_stream(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    entry = split(scenario, out, "--set", "workload.requests=2")["arms"]["turns"]
    assert [worker["requests"] for worker in entry["workers"].values()] == [1, 1, 0]
    assert entry["workers"]["decode/shared/2"]["file"] is None
    assert len(list((out / "turns").iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--stage", "prefill", "--set", "arms=[{name: a, decode: {profile: p.json, policy: shared, workers: 1}}]"],
            "prefill",
        ),
        (["--set", "seeed=3"], "did you mean seed?"),
    ],
)
def test_bad_input_is_one_line(scenario: Path, tmp_path: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["split", str(scenario), "--out", str(tmp_path / "out"), *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_touched(scenario: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["split", str(scenario), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds something else than results of sunsim split" in result.stderr


def test_names_that_are_no_file_names(scenario: Path, tmp_path: Path) -> None:
    scenario.write_text(SCENARIO.replace("name: turns", 'name: "../a b"').replace("name: least", 'name: "../a/b"'))
    out = tmp_path / "out"
    arms = split(scenario, out)["arms"]
    files = [worker["file"] for entry in arms.values() for worker in entry["workers"].values()]
    assert len(set(files)) == len(files)
    assert all((out / file).resolve().is_relative_to(out.resolve()) for file in files)
