"""The report of live clusters: what ran, the link if it was measured, arms, gains, the floor, and one sentence."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from sunsim.clock import PS_PER_MS
from sunsim.latency.transfer import LinkTimes, TransferData, load_transfers, measured_link
from sunsim.report.blocks import Block
from sunsim.report.format import count, number
from sunsim.report.terminal import plain
from sunsim.report.text_table import TextTable
from sunsim.validation.arm_tables import CLUSTER, cluster_tables
from sunsim.validation.check import CheckedCluster
from sunsim.validation.folders import Cluster
from sunsim.validation.tables import floor_table
from sunsim.validation.verdict import cluster_verdict

WIDTH = 120
FLOOR = "The floor: runs whose workers had the same to do, against the first, %"


def cluster_blocks(checked: CheckedCluster) -> list[Block | None]:
    """All that is said of one cluster."""
    repeated = [((f"{pair.second} / {pair.first}",), pair.change_percent) for pair in checked.repeated]
    return [
        _heading(checked.cluster),
        *_link(checked.cluster),
        *cluster_tables(checked.points),
        floor_table(FLOOR, ("",), repeated, CLUSTER),
        cluster_verdict(checked.points),
    ]


def live_text(checked: Sequence[CheckedCluster]) -> str:
    """The same of several, as wide as documents show it."""
    return plain([block for each in checked for block in cluster_blocks(each)], WIDTH)


def _heading(cluster: Cluster) -> str:
    meta, plan = cluster.runs[0].meta, cluster.plan
    origin = f"host {plan.profile_host}" if plan.profile_host else "the same host"
    return (
        f"{cluster.name}: {meta.model} {meta.variant} on {meta.card}, host {plan.host}, {(meta.date or '')[:10]}; "
        f"profile from {origin}"
    )


def _link(cluster: Cluster) -> Iterator[Block]:
    if cluster.link:
        data, _ = load_transfers(cluster.link)
        yield _link_table(data)
        for run in cluster.runs:
            if run.transfers is not None:
                yield _transfers(run.name, run.transfers, measured_link(data))


def _link_table(data: TransferData) -> TextTable:
    """Measured transfers, a point a row."""
    rows = [
        (
            count(point.bytes / 1e6),
            count(point.concurrent),
            number(point.transfer_ms_median),
            number(point.post_ms_median),
            number(point.bytes / 1e6 / point.transfer_ms_median),
        )
        for point in data.transfer_points
    ]
    headers = ("MB", "asked for\nat a time", "until there\nms", "of it the host\nposts, ms", "GB/s")
    return TextTable("The KV link, measured: medians", headers, rows, left=0)


def _transfers(run: str, transfers: pd.DataFrame, link: LinkTimes) -> str:
    """A run's transfers against what the link's points say of their sizes, were each alone."""
    sizes = transfers["bytes"].tolist()
    posted_ms = float(np.mean([link.posts_ps(size) for size in sizes])) / PS_PER_MS
    moved_ms = float(np.mean([link.latency_ps + link.moves_ps(size) for size in sizes])) / PS_PER_MS
    return (
        f"{run}: {count(len(sizes))} transfers took {number(transfers['transfer_s'].mean() * 1000)} ms in the mean, of "
        f"which the host posted for {number(transfers['post_s'].mean() * 1000)} ms; one at a time, by the points, "
        f"{number(posted_ms + moved_ms)} ms and {number(posted_ms)} ms."
    )
