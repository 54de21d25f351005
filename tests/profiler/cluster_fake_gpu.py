"""`python -m tests.profiler.cluster_fake_gpu SCENARIO GPUS OUT` plays a scenario on fake GPUs under real vLLM."""

import asyncio
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from profiler.cluster import worker
from profiler.cluster.cluster import ClusterOrder, cluster
from profiler.cluster.plan import all_runs, subject_of
from profiler.engine import EngineSettings
from profiler.measure import Subject
from profiler.progress import Progress


def fake_worker(connection: Connection, subject: Subject, gpu: int) -> None:
    """A worker's process."""
    from tests.profiler.fake_platform import install_platform  # noqa: PLC0415

    install_platform()
    worker.main(connection, subject, gpu)


def main(scenario: str, gpus: str, out: str) -> None:
    """Plays it in this process."""
    runs = all_runs([Path(scenario)], [], [], ["live-sun"], int(gpus))
    # KV that would come over a link counts as arrived here.
    settings = EngineSettings(distributed_executor_backend="tests.profiler.fake_vllm.FakeExecutor")
    subject = replace(subject_of(runs, quick=True, log_dir=None), settings=settings)
    order = ClusterOrder(
        subject=subject, runs=runs, gpus=int(gpus), out=Path(out), main=fake_worker, profile=Path(out) / "profile.json"
    )
    outcome = asyncio.run(cluster(order, Progress()))
    sys.stderr.write(f"{outcome}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
