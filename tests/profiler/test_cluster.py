"""The driver of a live cluster, on workers that only pretend: who gets what, what is kept, and what goes wrong."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from profiler.cli import app
from profiler.cluster.cluster import ClusterOrder, ClusterOutcome, cluster
from profiler.cluster.plan import all_runs, subject_of
from profiler.cluster.worker import visible_gpus
from profiler.progress import Progress
from profiler.run_file import read_facts
from profiler.streams import StreamError
from sunsim.validation.cluster_run import read_cluster_run
from tests.profiler.pretend_worker import FATAL_PROMPT, SILENT_PROMPT, main

PROFILE = "h100-80gb/llama-3.1-8b-bf16"
ELASTIC = f"{{profile: {PROFILE}, policy: shared, workers: {{min: 1, max: 2}}, scaling: {{kind: kv-usage}}}}"


def pool(policy: str, workers: int, router: str = "least-requests") -> str:
    return f"{{profile: {PROFILE}, policy: {policy}, router: {router}, workers: {workers}}}"


def write(
    folder: Path,
    arms: dict[str, dict[str, str]],
    prompts: list[int] | None = None,
    extra: str = "",
    outputs: int | None = None,
) -> Path:
    """A scenario of two models that get every other request, 10 ms apart."""
    prompts = prompts or [100 + i for i in range(12)]
    lines = [f"{0.01 * i:.2f},{prompt},{outputs or 20 + i},{'ab'[i % 2]}" for i, prompt in enumerate(prompts)]
    (folder / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens,model\n" + "\n".join(lines) + "\n")
    text = "name: live\nmodels: [{name: a, weight: 1}, {name: b, weight: 1}]\n"
    text += "workload: {kind: trace, format: csv, path: trace.csv}\narms:\n"
    for name, stages in arms.items():
        text += f"  - name: {name}\n" + "".join(f"    {stage}: {block}\n" for stage, block in stages.items())
    path = folder / "live.yaml"
    path.write_text(text + extra)
    return path


def play(scenario: Path, gpus: int, out: Path, again: list[str] | None = None) -> ClusterOutcome:
    runs = all_runs([scenario], [], [], again or [], gpus)
    subject = subject_of(runs, quick=True, log_dir=None)
    order = ClusterOrder(subject=subject, runs=runs, gpus=gpus, out=out, main=main)
    return asyncio.run(cluster(order, Progress()))


def rows(out: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(out / f"{name}.parquet")


def test_each_arm_serves_every_request_where_its_policy_and_router_say(tmp_path: Path) -> None:
    arms = {
        "isolated": {"decode": pool("isolated", 2)},
        "turns": {"decode": pool("shared", 2, "round-robin")},
        "least": {"decode": pool("shared", 2, "least-tokens")},
    }
    outcome = play(write(tmp_path, arms), 2, tmp_path / "out")
    assert sorted(outcome.played) == ["live-isolated", "live-least", "live-turns"]
    isolated = rows(tmp_path / "out", "live-isolated")
    assert isolated["decode_worker"].tolist() == ["decode/a/0", "decode/b/0"] * 6
    turns = rows(tmp_path / "out", "live-turns")
    assert turns["decode_worker"].tolist() == ["decode/shared/0", "decode/shared/1"] * 6
    least = rows(tmp_path / "out", "live-least")
    assert set(least["decode_worker"]) == {"decode/shared/0", "decode/shared/1"}
    for found in (isolated, turns, least):
        assert found["prompt_tokens"].tolist() == [100 + i for i in range(12)]
        assert (found["submit_s"] >= found["arrival_s"]).all()
        assert (found["known_s"] >= found["last_token_s"]).all()


def test_two_small_runs_share_the_gpus_that_a_large_one_needs(tmp_path: Path) -> None:
    arms = {
        "two": {"decode": pool("shared", 2)},
        "pair": {"decode": pool("shared", 2)},
        "all": {"decode": pool("shared", 4)},
    }
    play(write(tmp_path, arms), 4, tmp_path / "out")
    gpus = {name: read_facts(tmp_path / "out" / f"live-{name}.parquet")["gpus"] for name in arms}
    assert sorted(gpus["two"] + gpus["pair"]) == gpus["all"] == [0, 1, 2, 3]


def test_what_prefill_says_of_the_kv_reaches_the_decode_worker(tmp_path: Path) -> None:
    arms = {"sun": {"prefill": pool("isolated", 2), "decode": pool("shared", 1)}}
    play(write(tmp_path, arms), 3, tmp_path / "out")
    found = rows(tmp_path / "out", "live-sun")
    assert found["prefill_worker"].tolist() == ["prefill/a/0", "prefill/b/0"] * 6
    assert set(found["decode_worker"]) == {"decode/shared/0"}
    order = ["submit_s", "prefill_first_token_s", "decode_submit_s", "first_token_s", "last_token_s", "known_s"]
    assert (found[order].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_a_run_that_is_there_is_kept_and_one_asked_for_again_is_played(tmp_path: Path) -> None:
    scenario, out = write(tmp_path, {"sun": {"decode": pool("shared", 1)}}), tmp_path / "out"
    assert play(scenario, 1, out, ["live-sun"]).played == ["live-sun", "live-sun-again"]
    assert play(scenario, 1, out).kept == ["live-sun"]
    run = read_cluster_run(out / "live-sun-again.parquet")
    assert run.again
    assert run.point == "live"
    assert len(run.rows) == 12


def test_a_worker_that_fails_ends_its_run_and_those_that_need_it(tmp_path: Path) -> None:
    arms = {"first": {"decode": pool("shared", 1)}, "second": {"decode": pool("shared", 2)}}
    outcome = play(write(tmp_path, arms, [100, FATAL_PROMPT, 100]), 2, tmp_path / "out")
    assert outcome.failed == ["live-first", "live-second"]
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_what_a_broken_run_left_behind_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    # Request 0 is still under way on the first worker when the second one fails.
    arms = {"first": {"decode": pool("shared", 2, "round-robin")}, "second": {"decode": pool("shared", 1)}}
    scenario = write(tmp_path, arms, [100, FATAL_PROMPT], outputs=600)
    runs = all_runs([scenario], [], [], [], 2)
    runs[1] = replace(
        runs[1], requests=all_runs([write(tmp_path, arms, [100], outputs=600)], [], [], [], 2)[1].requests
    )
    subject = subject_of(runs, quick=True, log_dir=None)
    outcome = asyncio.run(
        cluster(ClusterOrder(subject=subject, runs=runs, gpus=2, out=tmp_path / "out", main=main), Progress())
    )
    assert outcome.failed == ["live-first"]
    found = rows(tmp_path / "out", "live-second")
    assert (found["first_token_s"] > found["submit_s"]).all()
    assert (found["last_token_s"] - found["first_token_s"] >= 0.59).all()


def test_kv_that_nobody_knows_of_ends_the_run(tmp_path: Path) -> None:
    arms = {"sun": {"prefill": pool("isolated", 2), "decode": pool("shared", 1)}}
    assert play(write(tmp_path, arms, [100, SILENT_PROMPT, 100]), 3, tmp_path / "out").failed == ["live-sun"]


def test_a_link_that_the_engines_do_not_have_cannot_be_measured(tmp_path: Path) -> None:
    scenario = write(tmp_path, {"sun": {"decode": pool("shared", 2)}})
    options = ["--gpus", "2", "--out", str(tmp_path / "out"), "--transfers", str(tmp_path / "link.json")]
    result = CliRunner().invoke(app, ["cluster", str(scenario), *options])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--transfers: needs at least two GPUs, and arms with prefill workers" in result.stderr


def test_more_workers_than_visible_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert visible_gpus(2) == ["2", "3"]
    scenario = write(tmp_path, {"sun": {"decode": pool("shared", 3)}})
    result = CliRunner().invoke(app, ["cluster", str(scenario), "--gpus", "3", "--out", str(tmp_path / "out")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--gpus: is 3, must be at most 2, as CUDA_VISIBLE_DEVICES is 2,3" in result.stderr


def test_a_closed_loop_is_not_played(tmp_path: Path) -> None:
    path = write(tmp_path, {"sun": {"decode": pool("shared", 1)}})
    lengths = "{kind: fixed, prompt_tokens: 5, output_tokens: 5}"
    closed = (
        f"workload={{kind: synthetic, requests: 9, arrivals: {{kind: closed, concurrency: 2}}, lengths: {lengths}}}"
    )
    result = CliRunner().invoke(app, ["cluster", str(path), "--gpus", "1", "--out", str(tmp_path), "--set", closed])
    assert result.exit_code == 2
    assert result.stderr == f"{path}: workload.arrivals.kind is closed, must be one with rate_rps to be run live\n"


@pytest.mark.parametrize(
    ("arms", "options", "message"),
    [
        ({"sun": {"decode": pool("shared", 3)}}, ["--gpus", "2"], "--gpus: is 2, must be at least 3 for live-sun"),
        (
            {"sun": {"decode": pool("shared", 1)}},
            ["--gpus", "1", "--again", "x"],
            "--again x: no such run, must be one",
        ),
        ({"sun": {"decode": pool("shared", 1)}}, ["--gpus", "1", "--arm", "x"], "--arm x: no scenario has such an arm"),
        ({"sun": {"prefill": pool("isolated", 2)}}, ["--gpus", "2"], "arm sun has no decode workers"),
        (
            {"sun": {"decode": ELASTIC}},
            ["--gpus", "2"],
            "arm sun grows and shrinks, must have numbers of workers to be run live",
        ),
        (
            {
                "sun": {"decode": pool("shared", 1)},
                "both": {"prefill": pool("isolated", 2), "decode": pool("shared", 1)},
            },
            ["--gpus", "3"],
            "some arms have prefill workers and some have none",
        ),
        (
            {"sun": {"decode": f"{{profile: {PROFILE}, policy: shared, workers: 1, max_num_seqs: 8}}"}},
            ["--gpus", "1"],
            "max_num_seqs of decode is 8, must be 256 to be run live",
        ),
        (
            {"sun": {"decode": pool("shared", 1, "least-harm")}},
            ["--gpus", "1"],
            "router least-harm of decode knows of output lengths, must be one that does not to be run live",
        ),
        (
            {"sun": {"decode": "{profile: h100-80gb/llama-3.1-8b-lora-r16, policy: shared, workers: 1}"}},
            ["--gpus", "1"],
            "is of variant lora-r16, must be of bf16, awq, fp8 to be run live",
        ),
        (
            {"sun": {"decode": pool("shared", 1)}},
            ["--gpus", "1", "--again", "live-sun", "--again", "live-sun"],
            "live-sun-again: two runs have this name",
        ),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(
    arms: dict[str, dict[str, str]], options: list[str], message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["cluster", str(write(tmp_path, arms)), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_arm_that_refuses_requests_is_refused(tmp_path: Path) -> None:
    arms = {"sun": {"admission": "{kind: shed}", "decode": pool("shared", 1)}}
    with pytest.raises(StreamError, match="arm sun has admission, must have none to be run live"):
        all_runs([write(tmp_path, arms, extra="slo: {tpot_ms: 25}\n")], [], [], [], 1)


def test_every_point_of_a_sweep_is_played_under_its_name(tmp_path: Path) -> None:
    extra = "sweep: {over: {slo.tpot_ms: [20, 30]}}\n"
    runs = all_runs([write(tmp_path, {"sun": {"decode": pool("shared", 1)}}, extra=extra)], [], [], [], 1)
    assert [run.name for run in runs] == ["live-tpot_ms-20-sun", "live-tpot_ms-30-sun"]
