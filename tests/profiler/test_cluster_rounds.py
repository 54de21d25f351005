"""Rounds of sessions on a live cluster of workers that only pretend: when they come, what they say, and where they go."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from profiler.cli import app
from sunsim.cluster.simulation import simulate_arm
from sunsim.scenario import build_requests, load_scenario
from sunsim.validation.cluster_run import read_cluster_run
from tests.profiler.test_cluster import PROFILE, play, pool, rows, write

CSV = """\
session,round,arrival_s,think_s,prefix,prefix_tokens,prompt_tokens,output_tokens
a,0,0,0,p,40,100,20
a,1,,0.05,p,40,150,30
a,2,,0,p,40,200,5
b,0,0.2,0,p,40,60,10
b,1,,0.02,p,40,90,10
"""


def written(folder: Path, *, models: int = 1, decode: str = "", caching: str = "true", csv: str = CSV) -> Path:
    """Two sessions, with later rounds remote and local; `decode` is more of every decode block."""
    (folder / "two.csv").write_text(csv)
    pool = f"profile: {PROFILE}, policy: isolated, workers: {models}, enable_prefix_caching: {caching}"
    lines = [
        "name: two",
        f"models: {{count: {models}}}",
        "workload: {kind: trace, format: csv, path: two.csv, models: popularity}",
        "arms:",
    ]
    for where in ("remote", "local"):
        append = "" if where == "remote" or decode else ", append_prefill: local"
        lines += [f"  - name: {where}", f"    prefill: {{{pool}}}", f"    decode: {{{pool}{append}{decode}}}"]
    path = folder / "two.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("rounds")
    outcome = play(written(folder), 2, folder / "out")
    assert outcome.played == ["two-remote", "two-local"]
    runs = [read_cluster_run(folder / "out" / f"two-{where}.parquet") for where in ("remote", "local")]
    assert all(run.sessions and run.sessions.previous.tolist() == [-1, 0, 1, -1, 3] for run in runs)
    return {where: rows(folder / "out", f"two-{where}") for where in ("remote", "local")}


@pytest.mark.parametrize("where", ["remote", "local"])
def test_a_round_comes_when_the_answer_before_it_has_been_thought_about(
    where: str, played: dict[str, pd.DataFrame]
) -> None:
    found = played[where]
    assert found["round"].tolist() == [0, 1, 2, 0, 1]
    assert found["session"].tolist() == [0, 0, 0, 1, 1]
    assert found["arrival_s"].iloc[[0, 3]].tolist() == [0, 0.2]
    for i, think_s in ((1, 0.05), (2, 0.0), (4, 0.02)):
        assert found["arrival_s"][i] == pytest.approx(found["client_last_token_s"][i - 1] + think_s, abs=2e-6)
    assert (found["submit_s"] - found["arrival_s"]).between(-2e-6, 0.05).all()


def test_remote_rounds_are_prefilled_from_what_prefill_has_and_what_decode_lacks_is_moved(
    played: dict[str, pd.DataFrame],
) -> None:
    found = played["remote"]
    assert set(found["appended"]) == {"remote"}
    assert set(found["prefill_worker"]) == {"prefill/m1/0"}
    # Blocks of 16 of the prompt before, without its answer; b begins as a does.
    assert found["prefill_cached_tokens"].tolist() == [0, 96, 144, 32, 48]
    # Those of prompt and answer, whose last token has no KV yet.
    assert found["decode_cached_tokens"].tolist() == [0, 112, 176, 32, 64]
    assert found["cached_tokens"].tolist() == found["prefill_cached_tokens"].tolist()
    assert (found["moved_tokens"] == found["prompt_tokens"] - found["decode_cached_tokens"]).all()
    order = ["submit_s", "prefill_first_token_s", "decode_submit_s", "first_token_s", "last_token_s", "known_s"]
    assert (found[order].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_local_rounds_go_straight_to_the_decode_worker_that_had_the_round_before(
    played: dict[str, pd.DataFrame],
) -> None:
    found = played["local"]
    later = found["round"] > 0
    assert found["appended"].tolist() == ["local" if each else "remote" for each in later]
    assert found["prefill_worker"][later].isna().all()
    assert found["prefill_cached_tokens"][later].isna().all()
    assert found["cached_tokens"].tolist() == [0, 112, 176, 32, 64]
    assert (found["moved_tokens"] > 0).tolist() == (~later).tolist()
    assert (found["submit_s"] == found["decode_submit_s"])[later].all()


@pytest.mark.parametrize("where", ["remote", "local"])
def test_as_much_is_found_and_moved_as_simulated(where: str, played: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path))
    (arm,) = (each for each in scenario.arms if each.name == where)
    simulated = simulate_arm(scenario, arm, build_requests(scenario)).rows
    for name in ("session", "round", "history_tokens", "cached_tokens", "moved_tokens", "appended"):
        assert simulated[name].tolist() == played[where][name].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": 2}, "arm remote has several models or modules, must have one to be run live with sessions"),
        ({"caching": "false", "decode": ", router: random"}, "arm remote has no prefill with enable_prefix_caching"),
        ({"decode": ", append_prefill: auto"}, "arm remote has append_prefill auto or history keep, must have neither"),
        ({"decode": ", history: keep"}, "arm remote has append_prefill auto or history keep, must have neither"),
        (
            {"decode": ", router: prefix-affinity"},
            "router of decode is prefix-affinity, must be another to be run live",
        ),
    ],
)
def test_rounds_that_engines_would_not_serve_as_simulated_are_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    scenario = written(tmp_path, **change)  # type: ignore[arg-type]
    result = CliRunner().invoke(app, ["cluster", str(scenario), "--gpus", "2", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_scenarios_with_and_without_sessions_are_not_played_on_the_same_engines(tmp_path: Path) -> None:
    other = write(tmp_path, {"apart": {"prefill": pool("isolated", 2), "decode": pool("isolated", 2)}})
    command = ["cluster", str(written(tmp_path)), str(other), "--gpus", "4", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    message = "some scenarios have sessions and some have none, must be the same: engines cache prefixes or do not\n"
    assert result.stderr == message
