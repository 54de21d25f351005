"""The tables of `sunsim.validation.fidelity` as text, as wide as documents show them."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from sunsim.report.blocks import Block
from sunsim.report.format import count, number
from sunsim.report.terminal import plain
from sunsim.report.text_table import TextTable
from sunsim.validation.arm_tables import worker_arm_tables
from sunsim.validation.check import Checked
from sunsim.validation.fidelity import Foreign, Repeat, foreign, repeats
from sunsim.validation.tables import error_cell, floor_table
from sunsim.validation.targets import TARGETS
from sunsim.validation.worker import Validated

Named: TypeAlias = tuple[Validated, str]

WIDTH = 120
"""Columns."""

HIT, MISS = "hit", "miss"

TPOT = {"mean_tpot_ms": "mean", "median_tpot_ms": "median", "p99_tpot_ms": "p99"}
QUEUE = {"saturated_output_throughput": "output", "saturated_mean_queueing_ms": "queueing"}
TTFT = {"mean_ttft_ms": "mean", "p99_ttft_ms": "p99"}


def fidelity_text(checked: Sequence[Checked]) -> str:
    """Every stream of the campaigns, how many are within all targets, the floor, and predictions across hosts."""
    return plain([*_fidelity(checked)], WIDTH) if checked else "No run is there yet.\n"


def sharing_text(checked: Sequence[Checked]) -> str:
    """The arms of the campaigns, actual and simulated, and what sharing gains in each."""
    there = [each for each in checked if each.comparison]
    return plain([*_sharing(there)], WIDTH) if there else "No whole cluster is there yet.\n"


def _fidelity(checked: Sequence[Checked]) -> Iterator[Block]:
    streams = [result for each in checked for result in each.streams]
    yield _targets()
    for each in checked:
        yield from _stream_tables([(result, _what(each, result)) for result in each.streams], _subject(each))
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


def _targets() -> str:
    def limits(tags: dict[str, str]) -> str:
        return ", ".join(f"{name} {_limit(tag)}" for tag, name in tags.items())

    return (
        "Errors are simulated against actual, in %. A stream is a hit if all its errors are within their targets; those "
        f"with a ! are not. Targets, profile and run from one host (from two): TPOT {limits(TPOT)}; where a queue lasts, "
        f"{limits(QUEUE)}; TTFT of prefill {limits(TTFT)}."
    )


def _limit(tag: str) -> str:
    target = TARGETS[tag]
    return f"{target.one_host:g}" + (f" ({target.other_host:g})" if target.other_host != target.one_host else "")


def _what(each: Checked, result: Validated) -> str:
    return f"{result.name}: {each.campaign.plan.runs[result.name]}"


def _abroad(other: Foreign) -> str:
    run = f"{other.result.engine}, {other.result.name}"
    return f"{run}: run on host {other.run_host}, profile of host {other.profile_host}"


def _subject(each: Checked) -> str:
    result = each.results[0]
    meta = result.run.meta
    facts = [result.engine, f"host {each.campaign.plan.host}"]
    facts += [meta.date[:10]] if meta.date else []
    return ", ".join([*facts, f"profile from the {result.relation}"])


def _stream_tables(named: Sequence[Named], title: str) -> list[TextTable]:
    """A stream a row; those of prefill workers have other figures, so they get a table of their own."""
    decode = [item for item in named if not item[0].run.meta.prefills_only]
    prefill = [item for item in named if item[0].run.meta.prefills_only]
    tables = []
    if decode:
        tables.append(_stream_table(decode, title, "TPOT", TPOT | QUEUE))
    if prefill:
        tables.append(_stream_table(prefill, f"{title}; prefill" if decode else title, "TTFT", TTFT))
    return tables


def _stream_table(named: Sequence[Named], title: str, latency: str, errors: dict[str, str]) -> TextTable:
    headers = (
        "stream",
        "requests",
        "mean\nbatch",
        f"{latency}\nactual\nms",
        "simu-\nlated\nms",
        *(f"{name}\n%" for name in errors.values()),
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
    return table or "No stream has been run twice yet, so the floor is not known."
