"""A live cluster of vLLM's real front ends, schedulers and connectors on fake GPUs; runs only where vLLM is installed.

`python -m tests.profiler.test_cluster_fake_gpu SCENARIO GPUS OUT [RUN ...]` plays a scenario, some runs twice, and
measures a quick profile beside it, where it has no sessions.
"""

import asyncio
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import pytest

from profiler import start
from profiler.cluster import worker
from profiler.cluster.cluster import ClusterOrder, cluster
from profiler.cluster.plan import all_runs, subject_of
from profiler.measure import Subject
from profiler.progress import Progress
from profiler.settings import EngineSettings
from tests.profiler.test_cluster_rounds import written

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")

SCENARIO = """\
name: live
seed: 1
models: {count: 2, popularity: {kind: zipf, alpha: 1.0}}
workload:
  kind: synthetic
  duration_s: 3
  arrivals: {kind: poisson, rate_rps: 8}
  lengths: {kind: fixed, prompt_tokens: 300, output_tokens: 30}
arms:
  - name: isolated
    decode: {profile: h100-80gb/llama-3.1-8b-bf16, policy: isolated, workers: 2}
  - name: sun
    decode: {profile: h100-80gb/llama-3.1-8b-bf16, policy: shared, workers: 2, load_report: {every_ms: 50}}
"""


def fake_worker(connection: Connection, subject: Subject, gpu: int) -> None:
    """A worker's process."""
    from tests.profiler.fake_platform import install_platform  # noqa: PLC0415

    install_platform()
    start.CONNECTORS["ArrivedKVConnector"] = "tests.profiler.fake_link"
    worker.main(connection, subject, gpu)


def main(scenario: str, gpus: str, out: str, *again: str) -> None:
    """Plays it in this process."""
    runs = all_runs([Path(scenario)], [], [], again, int(gpus))
    # KV that would come over a link counts as arrived here.
    subject = subject_of(runs, quick=True, log_dir=None)
    settings = EngineSettings(
        distributed_executor_backend="tests.profiler.fake_vllm.FakeExecutor",
        enable_prefix_caching=subject.settings.enable_prefix_caching,
    )
    subject = replace(subject, settings=settings)
    profile = None if settings.enable_prefix_caching else Path(out) / "profile.json"
    order = ClusterOrder(subject=subject, runs=runs, gpus=int(gpus), out=Path(out), profile=profile, main=fake_worker)
    outcome = asyncio.run(cluster(order, Progress()))
    sys.stderr.write(f"{outcome}\n")


@needs_vllm
def test_arms_are_played_on_engines_that_follow_one_another(tmp_path: Path) -> None:
    (tmp_path / "live.yaml").write_text(SCENARIO)
    module = [sys.executable, "-m", "tests.profiler.test_cluster_fake_gpu"]
    command = [*module, str(tmp_path / "live.yaml"), "2", str(tmp_path / "out"), "live-sun"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "failed=[]" in done.stderr
    profile = json.loads((tmp_path / "out" / "profile.json").read_text())
    assert profile["decode_points"]
    isolated, sun, again = (
        pd.read_parquet(tmp_path / "out" / f"live-{n}.parquet") for n in ("isolated", "sun", "sun-again")
    )
    assert (isolated["decode_worker"] == "decode/" + isolated["model"] + "/0").all()
    for rows in (isolated, sun, again):
        order = ["arrival_s", "submit_s", "first_token_s", "last_token_s", "client_last_token_s", "known_s"]
        assert (rows[order].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
        # Steps of the fake GPU take 4 ms and a little.
        assert (rows["last_token_s"] - rows["first_token_s"]).between(29 * 0.004, 29 * 0.008).all()


@needs_vllm
def test_rounds_find_in_vllms_caches_what_was_computed_or_moved_there(tmp_path: Path) -> None:
    module = [sys.executable, "-m", "tests.profiler.test_cluster_fake_gpu"]
    command = [*module, str(written(tmp_path)), "2", str(tmp_path / "out"), "two-local"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "failed=[]" in done.stderr
    remote, local, again = (
        pd.read_parquet(tmp_path / "out" / f"two-{n}.parquet") for n in ("remote", "local", "local-again")
    )
    # Whole blocks of 16 of what a worker has, but for a prompt's last token; as the workers that pretend have it.
    assert remote["prefill_cached_tokens"].tolist() == [0, 96, 144, 32, 48]
    assert remote["decode_cached_tokens"].tolist() == [0, 112, 176, 32, 64]
    # The last token is not moved here, but computed.
    assert (remote["moved_tokens"] == remote["prompt_tokens"] - remote["decode_cached_tokens"] - 1).all()
    for rows in (local, again):
        assert rows["appended"].tolist() == ["remote", "local", "local", "remote", "local"]
        assert rows["cached_tokens"].tolist() == [0, 112, 176, 32, 64]
        assert (rows["moved_tokens"] > 0).tolist() == [True, False, False, True, False]


if __name__ == "__main__":
    main(*sys.argv[1:])
