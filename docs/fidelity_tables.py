"""The tables of `docs.fidelity`, as documents show them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from docs.fidelity import Checked, Foreign, Repeat, foreign, repeats
from sunsim.report.blocks import Block
from sunsim.report.format import count, number
from sunsim.report.terminal import plain
from sunsim.report.text_table import TextTable
from sunsim.validation.arm_tables import worker_arm_tables
from sunsim.validation.check import CheckedCluster
from sunsim.validation.report import cluster_blocks
from sunsim.validation.tables import error_cell, floor_table, spread_table
from sunsim.validation.targets import DRAFTED, TARGETS, Target
from sunsim.validation.worker import Validated
from sunsim.validation.worker_figures import error_unit

Named: TypeAlias = tuple[Validated, str]

WIDTH = 120
"""Columns."""

HIT, MISS = "hit", "miss"

TPOT = {"mean_tpot_ms": "mean", "median_tpot_ms": "median", "p99_tpot_ms": "p99"}
QUEUE = {"saturated_output_throughput": "output", "saturated_mean_queueing_ms": "queueing"}
TTFT = {"mean_ttft_ms": "mean", "p99_ttft_ms": "p99"}
ROUNDS = {
    **{f"round_{i}_mean_ttft_ms": f"round {i}" for i in range(3)},
    "later_rounds_mean_ttft_ms": "later",
    "cached_share": "cached",
}
DRAFTS = {
    "output_throughput": "output",
    "saturated_output_throughput": "queue",
    "mean_acceptance_length": "length",
}


def fidelity_text(checked: Sequence[Checked]) -> str:
    """Every stream of the campaigns, how many are within all targets, the floor, and predictions across hosts."""
    return plain([*_fidelity(checked)], WIDTH) if checked else "No run is there yet.\n"


def sharing_text(checked: Sequence[Checked]) -> str:
    """The arms of the campaigns, actual and simulated, and what sharing gains in each."""
    there = [each for each in checked if each.comparison]
    return plain([*_sharing(there)], WIDTH) if there else "No whole cluster is there yet.\n"


def live_text(checked: Sequence[CheckedCluster]) -> str:
    """All that is said of live clusters."""
    return plain([block for each in checked for block in cluster_blocks(each)], WIDTH)


def _fidelity(checked: Sequence[Checked]) -> Iterator[Block]:
    streams = [result for each in checked for result in each.streams]
    yield _targets(
        sessions=any(result.run.rounds for result in streams), drafts=any(result.drafts for result in streams)
    )
    for each in checked:
        yield from _stream_tables([(result, _what(each, result)) for result in each.streams], _subject(each))
        yield spread_table(each.streams)
    yield _score(streams)
    yield from _preemptions(streams)
    yield _floor(repeats(checked))
    others = [(other.result, _abroad(other)) for other in foreign(checked)]
    if others:
        yield from _stream_tables(others, "Profile from another host")
        yield _score([result for result, _ in others])


def _sharing(checked: Sequence[Checked]) -> Iterator[Block]:
    for each in checked:
        if each.comparison:
            yield _subject(each)
            yield from worker_arm_tables(each.comparison)


def _targets(*, sessions: bool, drafts: bool) -> str:
    def limits(tags: dict[str, str], targets: Mapping[str, Target] = TARGETS) -> str:
        return ", ".join(f"{name} {_limit(targets[tag])}" for tag, name in tags.items())

    return (
        "Errors are simulated against actual, in %. A stream is a hit if all its errors are within their targets; those "
        f"with a ! are not. Targets, profile and run from one host (from two): TPOT {limits(TPOT)}; where a queue lasts, "
        f"{limits(QUEUE)}; TTFT of prefill and colocated {limits(TTFT)}"
        + (f"; its mean by round of sessions {_limit(TARGETS['round_0_mean_ttft_ms'])}" if sessions else "")
        + (f", their cached share {_limit(TARGETS['cached_share'])} point." if sessions else ".")
        + (f" Of workers that draft: TPOT {limits(TPOT, DRAFTED)}, {limits(DRAFTS, DRAFTED)}." if drafts else "")
    )


def _limit(target: Target) -> str:
    return f"{target.one_host:g}" + (f" ({target.other_host:g})" if target.other_host != target.one_host else "")


def _what(each: Checked, result: Validated) -> str:
    return f"{result.name}: {each.campaign.plan.runs[result.name]}"


def _abroad(other: Foreign) -> str:
    run = f"{other.result.engine}, {other.result.name}"
    return f"{run}: run on host {other.run_host}, profile of host {other.profile_host}"


def _subject(each: Checked) -> str:
    result = each.results[0]
    meta = result.run.meta
    facts = [f"{result.engine} on {meta.card}", f"host {each.campaign.plan.host}"]
    facts += [meta.date[:10]] if meta.date else []
    return ", ".join([*facts, f"profile from the {result.relation}"])


def _stream_tables(named: Sequence[Named], title: str) -> list[TextTable]:
    """A stream a row; workers that prefill have other figures, so those of a kind get a table of their own."""
    prompts = {tag: f"TTFT\n{name}" for tag, name in TTFT.items()}
    colocated = ("TPOT", TPOT | QUEUE | prompts)
    figures = {
        "": [("TPOT", TPOT | QUEUE)],
        "; colocated": [colocated],
        "; sessions": [colocated, ("TTFT", ROUNDS)],
        "; drafts": [("TPOT", TPOT | DRAFTS), ("TTFT", TTFT)],
        "; prefill": [("TTFT", TTFT)],
    }
    return [
        _stream_table(there, f"{title}{kind}", *columns)
        for kind, tables in figures.items()
        if (there := [item for item in named if _kind(item[0]) == kind])
        for columns in tables
    ]


def _kind(result: Validated) -> str:
    meta = result.run.meta
    if meta.prefills_only:
        return "; prefill"
    if result.run.rounds:
        return "; sessions"
    if result.drafts:
        return "; drafts"
    return "; colocated" if meta.does.prefills else ""


def _stream_table(named: Sequence[Named], title: str, latency: str, figures: dict[str, str]) -> TextTable:
    errors = {tag: name for tag, name in figures.items() if any(result.figure(tag) for result, _ in named)}
    headers = (
        "stream",
        "requests",
        "mean\nbatch",
        f"{latency}\nactual\nms",
        "simu-\nlated\nms",
        *(f"{name}\n{error_unit(tag)}" for tag, name in errors.items()),
        "",
    )
    rows = []
    for result, name in named:
        batch, mean = result.figure("mean_batch"), result.figure(next(iter(errors)))
        rows.append(
            (
                name,
                count(len(result.run.served)),
                number(batch.actual if batch else None),
                number(mean.actual if mean else None),
                number(mean.simulated if mean else None),
                *(error_cell(result.figure(tag)) for tag in errors),
                HIT if result.holds else MISS,
            )
        )
    return TextTable(title, headers, rows)


def _score(results: Sequence[Validated]) -> str:
    hits = sum(result.holds for result in results)
    figures = [figure for result in results for figure in result.judged]
    return (
        f"{hits} of {len(results)} streams within all targets; {sum(bool(figure.holds) for figure in figures)} of "
        f"{len(figures)} targets hold."
    )


def _preemptions(results: Sequence[Validated]) -> list[str]:
    texts = []
    for result in results:
        figure = result.figure("preemptions")
        if figure and (figure.actual or figure.simulated):
            texts.append(
                f"{result.engine}, {result.name}: {count(figure.actual)} actual, {count(figure.simulated)} simulated"
            )
    return [f"Preemptions: {'; '.join(texts)}."] if texts else []


def _floor(found: Sequence[Repeat]) -> TextTable | str:
    rows = []
    for repeat in found:
        pair, (first, second) = repeat.pair, repeat.hosts
        hosts = f"twice on host {first}" if first == second else f"host {second} against host {first}"
        said = (f"{repeat.engine}, {pair.first}: {hosts}", count(pair.requests))
        rows.append((said, pair.change_percent))
    title = "The floor: a stream run again on a real engine, against its first run, %"
    table = floor_table(title, ("stream", "requests"), rows)
    return table if rows else "No stream has been run twice yet, so the floor is not known."
