"""A live cluster whose KV is moved by Nixl, from one process's memory to another's; runs where vLLM and Nixl are.

`python -m tests.profiler.test_cluster_nixl SCENARIO OUT [BREAK]` plays a scenario of two workers and measures the link
first; of each worker's transfers the one with the number BREAK fails.
"""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import pytest

from profiler.cluster import beside, transfer_points, worker
from profiler.cluster.beside import Traffic
from profiler.cluster.cluster import ClusterOrder, cluster
from profiler.cluster.plan import all_runs, subject_of
from profiler.measure import Subject
from profiler.progress import Progress
from tests.profiler.test_cluster_rounds import CSV, written

needs_nixl = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("vllm", "nixl")), reason="needs vLLM and Nixl"
)


def nixl_worker(connection: Connection, subject: Subject, gpu: int) -> None:
    """A worker's process."""
    from tests.profiler.fake_platform import install_platform  # noqa: PLC0415

    install_platform()
    worker.main(connection, subject, gpu)


def main(scenario: str, out: str, broken: str = "0") -> None:
    """Plays it in this process."""
    os.environ["BROKEN_TRANSFER"] = broken
    transfer_points.SIZES, transfer_points.REPEATS, transfer_points.CONCURRENT = (16, 300), 2, ((300, 3),)
    beside.SIZES, beside.REPEATS, beside.TRAFFIC = (128, 300), 2, (Traffic(8, prompts=True),)
    runs = all_runs([Path(scenario)], [], [], [], 2)
    subject = subject_of(runs, quick=True, log_dir=None)
    settings = replace(subject.settings, distributed_executor_backend="tests.profiler.nixl_on_cpu.NixlExecutor")
    link = None if int(broken) else Path(out) / "link.json"
    order = ClusterOrder(
        subject=replace(subject, settings=settings), runs=runs, gpus=2, out=Path(out), transfers=link, main=nixl_worker
    )
    sys.stderr.write(f"{asyncio.run(cluster(order, Progress()))}\n")


def played(folder: Path, broken: int = 0) -> str:
    """What is said of it."""
    # However slow the machine, the first session's first round is over when the second one begins.
    scenario = written(folder, csv=CSV.replace("b,0,0.2", "b,0,3"))
    command = [sys.executable, "-m", "tests.profiler.test_cluster_nixl", str(scenario), str(folder / "out")]
    done = subprocess.run([*command, str(broken)], check=False, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "failed=[]" in done.stderr, done.stderr
    return done.stderr


def check_rounds(folder: Path) -> None:
    """Each worker found in its cache what it had, and got the rest; what it got, it has compared with what was said."""
    remote, local = (pd.read_parquet(folder / "out" / f"two-{where}.parquet") for where in ("remote", "local"))
    assert remote["prefill_cached_tokens"].tolist() == [0, 96, 144, 32, 48]
    assert remote["decode_cached_tokens"].tolist() == [0, 112, 176, 32, 64]
    assert (remote["moved_tokens"] == remote["prompt_tokens"] - remote["decode_cached_tokens"]).all()
    assert local["cached_tokens"].tolist() == [0, 112, 176, 32, 64]
    assert local["moved_tokens"].tolist() == [100, 0, 0, 28, 0]
    moved = pd.read_parquet(folder / "out" / "two-remote.transfers.parquet")
    # Whole blocks of 16, of keys and of values.
    assert sorted(moved["descriptors"]) == sorted(2 * -(-remote["moved_tokens"] // 16))


@needs_nixl
def test_rounds_get_from_prefill_what_the_decode_worker_lacks(tmp_path: Path) -> None:
    played(tmp_path)
    check_rounds(tmp_path)
    link = json.loads((tmp_path / "out" / "link.json").read_text())
    assert [(point["concurrent"], point["descriptors"]) for point in link["transfer_points"]] == [
        (1, 2),
        (1, 38),
        (3, 38),
    ]
    assert [point["transfers"] for point in link["beside_points"]] == [2, 2]


@needs_nixl
def test_a_run_with_a_transfer_that_fails_is_played_once_more(tmp_path: Path) -> None:
    said = played(tmp_path, broken=3)
    assert "two-remote: failed: WorkerError request" in said
    assert "played=['two-local', 'two-remote']" in said
    check_rounds(tmp_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
