"""Sessions on one worker beside their simulation: who follows whom, what is found again, and how both are judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sunsim
from sunsim.errors import InputError
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.validation.replay import Replayed, replay
from sunsim.validation.worker_run import ActualRun, read_run
from tests.validation.runs import columns_of, invoke, meta, profile_document, write_profile, write_table

COLUMNS = (
    *("session", "round", "submit_s", "think_s", "history_tokens", "prefix", "prefix_tokens"),
    *("prompt_tokens", "output_tokens"),
)
TALKS: list[tuple[float, ...]] = [
    (0, 0, 0.0, 0.0, 0, 0, 100, 150, 30),
    (1, 0, 0.5, 0.0, 0, 0, 100, 130, 30),
    (2, 0, 0.6, 0.0, 0, 1, 64, 80, 30),
    (0, 1, 1.0, 0.2, 180, 0, 100, 230, 20),
    (1, 1, 1.1, 0.0, 160, 0, 100, 200, 20),
    (0, 2, 2.0, 0.1, 250, 0, 100, 300, 20),
]
FOUND = [0, 96, 0, 176, 144, 240]
"""Whole blocks of 16: of b the prefix, of later rounds all but the answer's last token."""


def drafted(path: Path, talks: list[tuple[float, ...]] = TALKS, *, caching: bool = True, **changes: Any) -> Path:
    """A run all of whose outcomes are made up."""
    columns: dict[str, Any] = dict(zip(COLUMNS, map(np.array, zip(*talks, strict=True)), strict=True))
    stamps = ("queued_s", "scheduled_s", "first_token_s", "last_token_s", "client_first_token_s", "client_last_token_s")
    columns |= dict.fromkeys((*stamps, "arrival_s"), columns["submit_s"])
    columns |= {"request_id": np.arange(len(talks))} | dict.fromkeys(
        ("preemptions", "cached_tokens"), np.zeros(len(talks), int)
    )
    return write_table(path, columns, facts(caching=caching, **changes))


def facts(*, caching: bool, **changes: Any) -> dict[str, Any]:
    args = meta()["engine_args"] | {"enable_prefix_caching": caching}
    return meta("colocated", engine_args=args, **changes)


def simulated(tmp_path: Path, *, caching: bool = True, **changes: Any) -> tuple[ActualRun, Replayed]:
    profile = write_profile(tmp_path / "p.json", profile_document(engine_start="start-1"))
    run = read_run(drafted(tmp_path / "draft.parquet", caching=caching, **changes))
    return run, replay(run, LatencyModel(profile))


def as_simulated(tmp_path: Path, **changes: Any) -> Path:
    """A run that is what the simulation says."""
    run, replayed = simulated(tmp_path)
    assert run.rounds is not None
    talks = dict(zip(COLUMNS, map(np.array, zip(*TALKS, strict=True)), strict=True))
    columns = columns_of(replayed.served) | {name: talks[name] for name in COLUMNS if name != "submit_s"}
    columns |= {"cached_tokens": replayed.cached_tokens} | changes
    return write_table(tmp_path / "run.parquet", columns, facts(caching=True))


def test_a_round_comes_when_its_user_has_read_and_thought(tmp_path: Path) -> None:
    _, replayed = simulated(tmp_path)
    submit_s, ended_s = replayed.served.submit_s, replayed.served.client_last_token_s
    assert submit_s[:3].tolist() == [0, 0.5, 0.6]
    assert submit_s[[3, 4, 5]] == pytest.approx(ended_s[[0, 1, 3]] + [0.2, 0, 0.1], abs=1e-12)


def test_what_was_said_before_is_found_again(tmp_path: Path) -> None:
    _, replayed = simulated(tmp_path)
    _, without = simulated(tmp_path, caching=False)
    assert replayed.cached_tokens.tolist() == FOUND
    assert without.cached_tokens.tolist() == [0] * 6
    assert replayed.served.ttft_ms[5] < without.served.ttft_ms[5]


def test_a_cache_that_is_full_forgets(tmp_path: Path) -> None:
    # 26 blocks hold one of the requests that run together, but not what the sessions have said.
    _, replayed = simulated(tmp_path, num_gpu_blocks=27)
    assert replayed.cached_tokens.sum() < sum(FOUND)


def test_of_the_recorded_times_the_first_rounds_alone_are_used(tmp_path: Path) -> None:
    late = [(*talk[:2], talk[2] + (7.0 if talk[1] else 0.0), *talk[3:]) for talk in TALKS]
    _, replayed = simulated(tmp_path)
    run = read_run(drafted(tmp_path / "late.parquet", late))
    again = replay(run, LatencyModel(load_profile(tmp_path / "p.json")))
    assert again.served.last_token_s.tolist() == replayed.served.last_token_s.tolist()


def test_same_as_an_arm_of_one_worker(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    talks: list[tuple[float, ...]] = []
    for session in range(40):
        said, begin_s = 100, session * 0.3
        for number in range(int(rng.integers(1, 5))):
            prompt, output = said + int(rng.integers(5, 400)), int(rng.integers(1, 60))
            think_s = round(float(rng.exponential(0.5)), 3) if number else 0.0
            history = said if number else 0
            talks.append((session, number, begin_s + 5 * number, think_s, history, session % 2, 100, prompt, output))
            said = prompt + output
    csv = [",".join(("arrival_s", *COLUMNS[:2], *COLUMNS[3:]))]
    csv += [",".join(map(str, (talk[2] if not talk[1] else "", *talk[:2], *talk[3:]))) for talk in talks]
    (tmp_path / "talks.csv").write_text("\n".join(csv) + "\n")
    write_profile(tmp_path / "p.json", profile_document())
    worker = {"profile": str(tmp_path / "p.json"), "policy": "isolated", "router": "round-robin", "workers": 1}
    scenario = {
        "name": "one",
        "models": {"count": 1},
        "workload": {"kind": "trace", "format": "csv", "path": str(tmp_path / "talks.csv")},
        "arms": [{"name": "one", "colocated": worker | {"enable_prefix_caching": True}}],
    }
    rows = sunsim.simulate(sunsim.load(scenario)).requests

    run = read_run(drafted(tmp_path / "run.parquet", talks))
    served = replay(run, LatencyModel(load_profile(tmp_path / "p.json"))).served
    assert run.rounds is not None
    order = np.lexsort((run.rounds.sessions.round, run.rounds.sessions.session))
    assert served.prompt_tokens[order].tolist() == rows["prompt_tokens"].tolist()
    assert served.submit_s[order].tolist() == rows["arrival_s"].tolist()
    assert served.client_first_token_s[order].tolist() == rows["first_token_s"].tolist()
    assert served.client_last_token_s[order].tolist() == rows["last_token_s"].tolist()


def figures(tmp_path: Path, run: Path, code: int) -> dict[str, Any]:
    shown, stdout, stderr = invoke(run, "--profile", tmp_path / "p.json", "--json")
    assert (shown, stderr) == (code, "")
    found: dict[str, Any] = json.loads(stdout)["runs"][0]["figures"]
    return found


def test_the_simulation_itself_is_not_off_at_all(tmp_path: Path) -> None:
    found = figures(tmp_path, as_simulated(tmp_path), 0)
    rounds = [f"{name}_mean_ttft_ms" for name in ("round_0", "round_1", "round_2")]
    for tag in ("mean_tpot_ms", "p99_tpot_ms", "mean_ttft_ms", "cached_share", *rounds):
        assert found[tag]["holds"]
        assert found[tag]["error_percent"] == pytest.approx(0, abs=1e-6)
    assert found["cached_share"]["actual"] == pytest.approx(100 * sum(FOUND) / 1090)
    assert "later_rounds_mean_ttft_ms" not in found


def test_a_share_is_off_by_points(tmp_path: Path) -> None:
    run = as_simulated(tmp_path, cached_tokens=np.array([0, 96, 0, 160, 144, 240]))
    share = figures(tmp_path, run, 3)["cached_share"]
    assert share["error_percent"] == pytest.approx(100 * 16 / 1090)
    assert (share["tolerance_percent"], share["holds"]) == (1, False)
    stdout = invoke(run, "--profile", tmp_path / "p.json")[1]
    assert "+1.47 points" in stdout
    assert "Misses: cached share +1.47 points (1 point)" in stdout


@pytest.mark.parametrize(
    ("talks", "fault"),
    [
        ([TALKS[0], TALKS[5]], "round 2 of session 0 is not after the round before it"),
        ([TALKS[3]], "round 1 of session 0 is not after the round before it"),
        (
            [(0, 0, 2.5, *TALKS[0][3:]), TALKS[3]],
            "round 1 of session 0 was submitted before the round that it follows",
        ),
    ],
)
def test_what_is_no_conversation_is_refused(tmp_path: Path, talks: list[tuple[float, ...]], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        read_run(drafted(tmp_path / "run.parquet", talks))


def test_of_a_session_that_forgets_what_it_keeps_is_found(tmp_path: Path) -> None:
    # Of the 180 tokens before, 50 are kept: three blocks of them.
    short = [(*talk[:4], 50, *talk[5:]) if talk[1] == 1 else talk for talk in TALKS[:5]]
    write_profile(tmp_path / "p.json", profile_document())
    run = read_run(drafted(tmp_path / "run.parquet", short))
    assert replay(run, LatencyModel(load_profile(tmp_path / "p.json"))).cached_tokens.tolist() == [0, 96, 0, 48, 48]


def test_without_a_column_of_sessions_there_are_none(tmp_path: Path) -> None:
    columns = columns_of(read_run(as_simulated(tmp_path)).served) | {"round": np.zeros(6)}
    assert read_run(write_table(tmp_path / "plain.parquet", columns, meta())).rounds is None


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    run = as_simulated(tmp_path)
    columns = columns_of(read_run(run).served) | dict.fromkeys(("session", "think_s"), np.zeros(6))
    path = write_table(tmp_path / "half.parquet", columns, meta())
    with pytest.raises(InputError, match="column round is missing"):
        read_run(path)
