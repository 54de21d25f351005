"""A sweep on a Ray cluster of two node processes, one of which is killed; `python -m tests.points.on_ray FILE DIR`.
With `--lose-head` there is one node, and it is killed.

Prints how often each point arrived, and how many nodes there were before and after. A script of its own, because
Ray's processes, threads and warnings do not mix with a test run.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

import sunsim.points.ray_cluster as on_cluster
from sunsim.program import ended
from sunsim.sweep.run import sweep

KILL_AFTER = 10


NOTICED_S = 60
"""Time that the cluster has to notice that a node is gone."""


def alive() -> int:
    """Nodes that the cluster believes to be there."""
    return sum(node["Alive"] for node in ray.nodes())


def lose_head(file: Path, out: Path) -> None:
    """Runs the sweep and kills the cluster's head once two points have arrived; ends as the command line would."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    run_ray = on_cluster.run_ray

    def watched(points: Any, jobs: int | None, address: str) -> Iterator[Any]:
        for arrived, made in enumerate(run_ray(points, jobs, address), 1):
            yield made
            if arrived == 2:
                cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    on_cluster.run_ray = watched  # type: ignore[assignment]
    with ended():
        try:
            sweep(file, out, [], None, jobs=1, executor="ray", address=cluster.address, as_json=False, quiet=True)
        finally:
            cluster.shutdown()


def main() -> None:
    """Starts the cluster, runs the sweep, kills a node on the way, says what arrived."""
    file, out = map(Path, sys.argv[1:3])
    if "--lose-head" in sys.argv:
        lose_head(file, out)
        return
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    run_ray = on_cluster.run_ray
    arrived: Counter[tuple[int, int]] = Counter()
    nodes: list[int] = []

    def watched(points: Any, jobs: int | None, address: str) -> Iterator[Any]:
        for point, outcome in run_ray(points, jobs, address):
            arrived[point.combination, point.seed] += 1
            if arrived.total() == KILL_AFTER:
                nodes.append(alive())
                cluster.remove_node(second, allow_graceful=False)
            if arrived.total() == len(points):
                until = time.monotonic() + NOTICED_S
                while alive() == nodes[0] and time.monotonic() < until:
                    time.sleep(0.1)
                nodes.append(alive())
            yield point, outcome

    on_cluster.run_ray = watched  # type: ignore[assignment]
    try:
        whole = sweep(
            file, out, [], None, jobs=None, executor="ray", address=cluster.address, as_json=False, quiet=True
        )
    finally:
        cluster.shutdown()
    sys.stdout.write(f"whole: {whole}; points: {len(arrived)}; arrivals: {set(arrived.values())}; nodes: {nodes}\n")


if __name__ == "__main__":
    main()
