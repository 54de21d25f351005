"""The report of a validation: blocks that a console and a page show."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from sunsim.clock import PS_PER_MS
from sunsim.latency.transfer import LinkTimes, TransferData, load_transfers, measured_link
from sunsim.report.blocks import Block, Contents, Figure, Report, Section, Verdict
from sunsim.report.format import count, number
from sunsim.report.text_table import TextTable
from sunsim.validation import server, tables
from sunsim.validation.arm_tables import CLUSTER, cluster_tables, worker_arm_tables
from sunsim.validation.check import CheckedCluster
from sunsim.validation.figures import known
from sunsim.validation.folders import Cluster
from sunsim.validation.result import Validation, cluster_verdict
from sunsim.validation.worker import Validated
from sunsim.version import __version__

NOTES = """
Errors are simulated against actual. TPOT = (last - first token) / (output tokens - 1) by the engine's clock; TTFT is
from submission to the client's first token; queueing is first scheduled - queued. Saturated figures are over the
longest stretch in which requests were held back for want of a place or of KV blocks. Intervals: 95 %, from a circular
block bootstrap over requests (over slices of time for rates) that draws both sides together. Arms: output is what is
emitted from the warm-up to the last arrival, over the time between and the decode GPUs; latencies are those of all
requests of all workers.
"""


def blocks(validation: Validation) -> list[Block | None]:
    """The figures of one run, or a row for each of several; or live clusters, each with its own last sentence."""
    if not validation.results:
        return [block for each in validation.clusters for block in cluster_blocks(each)]
    return [*_overview(validation), [tables.outside(validation.results), validation.sentence]]


def page(validation: Validation, pictures: Mapping[str, Sequence[str]]) -> Report:
    """The whole of worker runs; `pictures` has the SVG texts of each run by its name."""
    results = validation.results
    drawn = {name: [Figure(svg=svg) for svg in svgs] for name, svgs in pictures.items()}
    single = len(results) == 1
    name = results[0].name if single else f"{len(results)} runs"
    details = drawn[name] if single else [_run(result, drawn[result.name]) for result in results]
    runs = None if single else Contents("Runs", [result.name for result in results])
    verdict = Verdict([validation.sentence], missed=not validation.holds)
    hashes = "; ".join(sorted({f"{each.profile.name} {each.profile.sha256[:12]}" for each in results}))
    return Report(
        title=f"Validation of {name}",
        blocks=[verdict, runs, *_overview(validation), tables.outside(results), *details],
        footer=[NOTES, f"sunsim {__version__}; profiles: {hashes}"],
    )


def _overview(validation: Validation) -> list[Block | None]:
    results = validation.results
    single = len(results) == 1
    return [
        *(server.sentences(result) for result in results if result.run.client),
        [*([tables.heading(results[0])] if single else []), *dict.fromkeys(map(tables.subject, results))],
        tables.figures_table(results[0]) if single else tables.overview_table(results),
        tables.steps_table(results),
        tables.spread_table(results),
        tables.runs_floor(validation.floor),
        *(table for comparison in validation.comparisons for table in worker_arm_tables(comparison)),
    ]


def _run(result: Validated, drawn: Sequence[Figure]) -> Section:
    texts = [tables.heading(result), tables.subject(result)]
    return Section(result.name, [texts, tables.figures_table(result), tables.steps_table([result]), *drawn])


def cluster_blocks(checked: CheckedCluster) -> list[Block | None]:
    """All that is said of one cluster."""
    title = "The floor: runs whose workers had the same to do, against the first, %"
    repeated = [((f"{pair.second} / {pair.first}",), pair.change_percent) for pair in checked.repeated]
    return [
        _heading(checked.cluster),
        *_link(checked.cluster),
        *cluster_tables(checked.points),
        tables.floor_table(title, ("",), repeated, CLUSTER),
        cluster_verdict(checked.points),
    ]


def _heading(cluster: Cluster) -> str:
    meta, plan = cluster.runs[0].meta, cluster.plan
    origin = f"host {plan.profile_host}" if plan.profile_host else "the same host"
    return (
        f"{cluster.name}: {meta.model} {meta.variant} on {meta.card}, host {plan.host}, {(meta.date or '')[:10]}; "
        f"profile from {origin}"
    )


def _link(cluster: Cluster) -> Iterator[Block]:
    if cluster.link:
        data = load_transfers(cluster.link).data
        yield _link_table(data)
        if data.beside_points:
            yield _beside_table(data)
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


def _beside_table(data: TransferData) -> TextTable:
    """What the fetching worker's host adds, a number of decodes a row: medians over the points."""
    points = pd.DataFrame([point.model_dump() for point in data.beside_points]).astype(np.float64)
    medians = points.groupby("decode_requests")[["begin_ms_median", "lead_ms_median", "admit_ms_median"]].median()
    rows = [(count(decodes), *(number(known(value)) for value in each)) for decodes, *each in medians.itertuples()]
    headers = ("decodes", "it begins\nafter, ms", "the step's launch\ntakes, ms", "KV is there until\nit is taken, ms")
    return TextTable("Beside decodes of the worker that fetches: medians", headers, rows, left=0)


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
