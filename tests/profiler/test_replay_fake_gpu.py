"""Streams through vLLM's real front end, scheduler and connector onto a fake GPU; runs only where vLLM is installed.

`python -m tests.profiler.test_replay_fake_gpu OUT BLOCKS PROFILE STREAM.csv:ROLE ...` replays on the fake GPU; 0 blocks
are as many as fit, and a profile of "-" is none. If OUT is called `cached`, the worker caches prefixes, if `drafting`, it
has three drafts of EAGLE, of which streams accept 0.75, 0.55 and 0.4 if they say nothing else; else one whose streams are
all colocated is an ordinary one.
"""

import asyncio
import importlib.util
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")

MODULE = [sys.executable, "-m", "tests.profiler.test_replay_fake_gpu"]
PROMPT_TOKENS, OUTPUT_TOKENS = 600, 30
RATES = (0.75, 0.55, 0.4)


def main(out: str, blocks: str, profile: str, *streams: str) -> None:
    """Replays in this process."""
    from tests.profiler.fake_platform import install_platform  # noqa: PLC0415

    install_platform()
    from profiler.progress import Progress  # noqa: PLC0415
    from profiler.replay import ReplayOrder, limit_tokens, replay, with_rates  # noqa: PLC0415
    from profiler.settings import EngineSettings, SpeculativeSettings  # noqa: PLC0415
    from profiler.streams import read_streams  # noqa: PLC0415

    cached, drafting = Path(out).name == "cached", Path(out).name == "drafting"
    ordinary = not cached and all(stream.endswith(":colocated") for stream in streams)
    settings = EngineSettings(
        kv_connector=None if ordinary else "ArrivedKVConnector",
        distributed_executor_backend="tests.profiler.fake_vllm.FakeExecutor",
        num_gpu_blocks_override=int(blocks) or None,
        enable_prefix_caching=cached,
        speculative=SpeculativeSettings("eagle", 3) if drafting else None,
    )
    found = read_streams(streams, "decode", limit_tokens=limit_tokens(settings))
    order = ReplayOrder(
        model="llama-3.1-8b",
        variant="bf16",
        quick=True,
        settings=settings,
        log_dir=Path(out) / "logs",
        streams=with_rates(found, RATES if drafting else None, settings.speculative),
        out=Path(out),
        profile=None if profile == "-" else Path(profile),
    )
    outcome = asyncio.run(replay(order, Progress()))
    sys.stderr.write(f"{outcome}\n")


def write_stream(
    path: Path, requests: int, gap_s: float, prompt: int = PROMPT_TOKENS, output: int = OUTPUT_TOKENS
) -> None:
    """Requests at even gaps, of models a and b in turn."""
    lines = [f"{i * gap_s:.3f},{prompt + i % 7},{output},{'ab'[i % 2]}" for i in range(requests)]
    path.write_text("arrival_s,prompt_tokens,output_tokens,model\n" + "\n".join(lines) + "\n")


def replay_on_fake(out: Path, *streams: str, blocks: int = 0, profile: str = "-") -> str:
    """What was said on stderr."""
    command = [*MODULE, str(out), str(blocks), profile, *streams]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stderr


def facts_of(path: Path) -> dict[str, Any]:
    """A run's metadata."""
    facts: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"sunsim"])
    return facts


def check_order_of_stamps(rows: pd.DataFrame) -> None:
    moments = [
        "arrival_s",
        "submit_s",
        "queued_s",
        "scheduled_s",
        "first_token_s",
        "last_token_s",
        "client_last_token_s",
    ]
    for earlier, later in itertools.pairwise(moments):
        assert (rows[earlier] <= rows[later] + 1e-6).all(), (earlier, later)
    assert (rows["first_token_s"] <= rows["client_first_token_s"]).all()


def check_steps(rows: pd.DataFrame, steps: pd.DataFrame) -> None:
    assert (steps["step_s"] > 0).all()
    assert steps["end_s"].is_monotonic_increasing
    # Each token is one request's part in one step that is not a prompt's unfinished chunk.
    assert steps["decode_requests"].sum() <= rows["output_tokens"].sum()
    # Whoever emits has its step's end as its stamp, up to the engine's own bookkeeping.
    ends = steps["end_s"].to_numpy()
    after = np.searchsorted(ends, rows["first_token_s"].to_numpy() + 1e-5) - 1
    assert (np.abs(rows["first_token_s"].to_numpy() - ends[after]) < 3e-3).all()


def test_a_worker_of_each_role(tmp_path: Path) -> None:
    streams = []
    for role in ("decode", "prefill", "colocated"):
        write_stream(tmp_path / f"{role}s.csv", requests=40, gap_s=0.02)
        streams.append(f"{tmp_path}/{role}s.csv:{role}")
    out, profile = tmp_path / "out", tmp_path / "p.json"
    replay_on_fake(out, *streams, profile=str(profile))
    rows = {role: pd.read_parquet(out / f"{role}s.parquet") for role in ("decode", "prefill", "colocated")}
    steps = {role: pd.read_parquet(out / f"{role}s.steps.parquet") for role in rows}
    facts = {role: facts_of(out / f"{role}s.parquet") for role in rows}

    for role, served in rows.items():
        assert len(served) == 40
        assert list(served["model"][:3]) == ["a", "b", "a"]
        assert list(served["request_id"]) == list(range(40))
        check_order_of_stamps(served)
        check_steps(served, steps[role])
        assert facts[role]["role"] == role
        assert facts[role]["steps"] == len(steps[role])
        assert facts[role]["profile"]["file"] == "p.json"
    assert len({f["engine_start"] for f in facts.values()}) == 1
    assert all(isinstance(s, float) for s in json.loads(profile.read_text())["phases"].values())

    assert steps["decode"]["chunk_tokens"].sum() == 0
    assert steps["decode"]["decode_requests"].sum() == rows["decode"]["output_tokens"].sum() == 40 * OUTPUT_TOKENS
    assert steps["prefill"]["chunk_tokens"].sum() == rows["prefill"]["prompt_tokens"].sum()
    assert (rows["prefill"]["output_tokens"] == 1).all()
    assert (rows["prefill"]["first_token_s"] == rows["prefill"]["last_token_s"]).all()
    assert steps["colocated"]["chunk_tokens"].sum() == rows["colocated"]["prompt_tokens"].sum()
    assert steps["colocated"]["decode_requests"].sum() == 40 * (OUTPUT_TOKENS - 1)
    assert ((steps["colocated"]["chunk_tokens"] > 0) & (steps["colocated"]["decode_requests"] > 0)).any()
    # Fake steps last 4 ms, 0.02 more for each request.
    assert facts["decode"]["mean_tpot_ms"] == pytest.approx(4.2, abs=0.6)


def test_what_is_there_is_kept_and_sigterm_drops_only_what_is_unfinished(tmp_path: Path) -> None:
    write_stream(tmp_path / "short.csv", requests=5, gap_s=0.05)
    write_stream(tmp_path / "long.csv", requests=600, gap_s=0.1)
    out = tmp_path / "out"
    command = [*MODULE, str(out), "0", "-", f"{tmp_path}/short.csv", f"{tmp_path}/long.csv"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not (out / "short.parquet").exists():
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert process.returncode != 0
    assert sorted(path.name for path in out.glob("*.parquet*")) == ["short.parquet", "short.steps.parquet"]

    before = (out / "short.parquet").read_bytes()
    said = replay_on_fake(out, f"{tmp_path}/short.csv")
    assert "kept" in said
    assert "starting the engine" not in said
    assert (out / "short.parquet").read_bytes() == before


@pytest.mark.parametrize("role", ["decode", "colocated"])
def test_preempted_requests_are_counted_and_end(tmp_path: Path, role: str) -> None:
    # 24 requests want 24 x 125 blocks; 1100 are there.
    write_stream(tmp_path / "tight.csv", requests=24, gap_s=0.01, prompt=600, output=1400)
    out = tmp_path / "out"
    replay_on_fake(out, f"{tmp_path}/tight.csv:{role}", blocks=1100)
    rows, steps = pd.read_parquet(out / "tight.parquet"), pd.read_parquet(out / "tight.steps.parquet")

    # Some happen in schedules that then hold nothing, which are no steps: only the raw log has them all.
    records = [json.loads(line) for line in (out / "logs" / "steps.jsonl").read_text().splitlines()]
    assert rows["preemptions"].sum() == sum(r[11] for r in records if r[0] == "s")
    assert 0 < steps["preempted"].sum() <= rows["preemptions"].sum()
    assert facts_of(out / "tight.parquet")["num_gpu_blocks"] == 1100
    assert steps["chunk_tokens"].sum() > 0
    check_order_of_stamps(rows)


SESSIONS = """\
session,round,arrival_s,think_s,prefix,prefix_tokens,prompt_tokens,output_tokens
a,0,0,0,p,100,150,30
a,1,,0.2,p,100,230,20
a,2,,0.1,p,100,300,20
b,0,0.5,0,p,100,130,30
b,1,,0,p,100,200,20
c,0,0.6,0,q,64,80,30
"""


def test_rounds_find_what_is_cached_and_nothing_else_does(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.csv").write_text(SESSIONS)
    write_stream(tmp_path / "alike.csv", requests=14, gap_s=0.1)
    out, profile = tmp_path / "cached", tmp_path / "p.json"
    streams = [f"{tmp_path}/{name}.csv:colocated" for name in ("first", "alike", "second")]
    replay_on_fake(out, *streams, profile=str(profile))

    # Of b the prefix is cached. Of later rounds, all that was computed before: not the last token of the answer.
    findable = [0, 150 + 30 - 1, 230 + 20 - 1, 100, 130 + 30 - 1, 0]
    for name in ("first", "second"):
        rows = pd.read_parquet(out / f"{name}.parquet")
        assert rows["cached_tokens"].tolist() == [tokens // 16 * 16 for tokens in findable]
        steps = pd.read_parquet(out / f"{name}.steps.parquet")
        assert steps["chunk_tokens"].sum() == (rows["prompt_tokens"] - rows["cached_tokens"]).sum()
        waited_s = rows["submit_s"][1] - rows["client_last_token_s"][0]
        assert 0.2 <= waited_s < 0.25
        check_order_of_stamps(rows)
    alike = pd.read_parquet(out / "alike.parquet"), pd.read_parquet(out / "alike.steps.parquet")
    assert alike[1]["chunk_tokens"].sum() == alike[0]["prompt_tokens"].sum()

    measured = json.loads(profile.read_text())
    assert measured["engine_args"]["enable_prefix_caching"]
    assert all(isinstance(seconds, float) for seconds in measured["phases"].values())
    assert {(p["prompts"], p["new_tokens"]) for p in measured["prefill_points"]} >= {(1, 64), (1, 512), (4, 512)}


def test_drafts_are_accepted_as_each_stream_says_and_counted_as_vllm_does(tmp_path: Path) -> None:
    for name in ("high", "low", "front", "none"):
        write_stream(tmp_path / f"{name}.csv", requests=60, gap_s=0.02)
    out = tmp_path / "drafting"
    roles = {"high": "colocated", "low": "decode:rates=0.6/0.3/0.15", "front": "prefill", "none": "decode:rates=0/0/0"}
    replay_on_fake(out, *(f"{tmp_path}/{name}.csv:{role}" for name, role in roles.items()))
    rows = {name: pd.read_parquet(out / f"{name}.parquet") for name in roles}
    steps = {name: pd.read_parquet(out / f"{name}.steps.parquet") for name in roles}
    facts = {name: facts_of(out / f"{name}.parquet") for name in roles}

    for name, rates in (("high", RATES), ("low", (0.6, 0.3, 0.15)), ("none", (0, 0, 0))):
        found, taken = facts[name], steps[name]
        assert found["speculative_config"] == {
            "method": "eagle",
            "num_speculative_tokens": 3,
            "synthetic_acceptance_rates": list(rates),
        }
        assert found["num_draft_tokens"] == 3 * found["num_drafts"]
        assert (
            found["num_accepted_tokens"] == sum(found["num_accepted_tokens_per_pos"]) == taken["accepted_tokens"].sum()
        )
        shares = np.array(found["num_accepted_tokens_per_pos"]) / found["num_drafts"]
        assert shares == pytest.approx(rates, abs=0.1)
        assert found["mean_acceptance_length"] == pytest.approx(1 + shares.sum(), abs=1e-5)
        # A burst that goes beyond the end of its request is cut, but counted whole.
        out_tokens = found["num_drafts"] + found["num_accepted_tokens"] + len(rows[name])
        assert rows[name]["output_tokens"].sum() <= out_tokens <= rows[name]["output_tokens"].sum() + 3 * 60
        # Ghosts are computed, and not counted.
        assert taken["draft_tokens"].sum() == 3 * taken["decode_requests"].sum() >= found["num_draft_tokens"]
        assert (rows[name]["bursts"] <= rows[name]["output_tokens"]).all()
        check_order_of_stamps(rows[name])
    assert facts["front"]["num_drafts"] == 0
    assert facts["front"]["mean_acceptance_length"] is None
    assert rows["none"]["bursts"].mean() > 1.5 * rows["high"]["bursts"].mean()

    # On a decode worker everybody comes in with one token; on a colocated one with its prompt.
    assert (steps["low"]["entering_requests"].sum(), steps["low"]["chunk_tokens"].sum()) == (60, 0)
    assert steps["low"]["entering_context_tokens"].sum() == rows["low"]["prompt_tokens"].sum()
    assert steps["high"]["entering_requests"].sum() == 0
    assert steps["high"]["chunk_tokens"].sum() == rows["high"]["prompt_tokens"].sum()
    # What decodes attend to is what was there before each step, for who is no ghost: known tokens, no draft.
    mean_context = steps["low"]["context_tokens"].sum() / steps["low"]["decode_requests"].sum()
    assert PROMPT_TOKENS + OUTPUT_TOKENS / 3 < mean_context < PROMPT_TOKENS + OUTPUT_TOKENS


if __name__ == "__main__":
    main(*sys.argv[1:])
