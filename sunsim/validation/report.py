"""The report of a validation: blocks that a console and a page show."""

from collections.abc import Mapping, Sequence

from sunsim import __version__
from sunsim.report.blocks import Block, Figure, Report, Section, Verdict
from sunsim.validation.arm_tables import worker_arm_tables
from sunsim.validation.cluster_report import cluster_blocks
from sunsim.validation.document import Validation
from sunsim.validation.tables import (
    figures_table,
    heading,
    outside,
    overview_table,
    runs_floor,
    steps_table,
    subject,
)
from sunsim.validation.worker import Validated

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
    return [*_overview(validation), [outside(validation.results), validation.sentence]]


def page(validation: Validation, pictures: Mapping[str, Sequence[str]]) -> Report:
    """The whole of worker runs; `pictures` has the SVG texts of each run by its name."""
    results = validation.results
    drawn = {name: [Figure(svg=svg) for svg in svgs] for name, svgs in pictures.items()}
    single = len(results) == 1
    name = results[0].name if single else f"{len(results)} runs"
    details = drawn[name] if single else [_run(result, drawn[result.name]) for result in results]
    verdict = Verdict([validation.sentence], missed=not validation.holds)
    hashes = "; ".join(sorted({f"{each.profile.name} {each.profile.sha256[:12]}" for each in results}))
    return Report(
        title=f"Validation of {name}",
        blocks=[verdict, *_overview(validation), outside(results), *details],
        footer=[NOTES, f"sunsim {__version__}; profiles: {hashes}"],
    )


def _overview(validation: Validation) -> list[Block | None]:
    results = validation.results
    single = len(results) == 1
    return [
        [*([heading(results[0])] if single else []), *dict.fromkeys(map(subject, results))],
        figures_table(results[0]) if single else overview_table(results),
        steps_table(results),
        runs_floor(validation.floor),
        *(table for comparison in validation.comparisons for table in worker_arm_tables(comparison)),
    ]


def _run(result: Validated, drawn: Sequence[Figure]) -> Section:
    texts = [heading(result), subject(result)]
    return Section(result.name, [texts, figures_table(result), steps_table([result]), *drawn])
