"""Tables and sentences of worker runs: figure by figure, run by run, step by step, and the noise floor."""

from collections.abc import Mapping, Sequence

from sunsim.report.format import ABSENT, count, counted, listed, number, percent
from sunsim.report.text_table import MISSED, TextTable
from sunsim.validation.arms import DECODE_THROUGHPUT, THROUGHPUT
from sunsim.validation.drafts import SEEDS, Spread
from sunsim.validation.figures import Figure, bare_percent, signed_percent
from sunsim.validation.floor import Pair
from sunsim.validation.steps import ALL, CHUNKED, ENTERED, STALL
from sunsim.validation.targets import TARGETED, Relation, targets_of
from sunsim.validation.worker import Validated
from sunsim.validation.worker_figures import HEADERS, ROUNDS, limit, signed_error

SHORT = {
    **{tag: header.replace(*((", ", ",\n") if "," in header else (" ", "\n"))) for tag, (header, _) in HEADERS.items()},
    **{f"{name}_mean_ttft_ms": f"TTFT\n{name.split('_rounds')[0].replace('_', ' ')}" for name in ROUNDS},
    "cached_share": "cached\npoints",
    "mean_acceptance_length": "acceptance\nlength",
    DECODE_THROUGHPUT: "tok/s per\ndecode GPU",
    THROUGHPUT: "tok/s per\nGPU",
}
"""Headers in two lines, of arms' figures too."""

FLOOR = ("mean_tpot_ms", "median_tpot_ms", "p99_tpot_ms", "mean_queueing_ms", "mean_ttft_ms", "p99_ttft_ms")
"""Figures that repeats are compared by."""


def figures_table(result: Validated) -> TextTable:
    """A figure a row."""
    rows = []
    for figure in result.figures:
        header, unit = HEADERS[figure.tag]
        written = count if figure.tag == "preemptions" else number
        rows.append(
            (
                f"{header} ({unit})" if unit else header,
                written(figure.actual),
                written(figure.simulated),
                signed_error(figure),
                _interval(figure),
                limit(figure) or ABSENT,
                _judgement(figure),
            )
        )
    return TextTable("", ("", "actual", "simulated", "error", "95 % interval", "target", ""), rows)


def _interval(figure: Figure) -> str:
    if figure.low_percent is None or figure.high_percent is None:
        return ABSENT
    return f"{bare_percent(figure.low_percent)} to {signed_percent(figure.high_percent)}"


def _judgement(figure: Figure) -> str:
    return ABSENT if figure.holds is None else "holds" if figure.holds else MISSED


def overview_table(results: Sequence[Validated]) -> TextTable:
    """A run a row: the errors of the figures that have targets; ! marks a missed one."""
    of_some = {tag for result in results for tag in targets_of(drafts=result.drafts)}
    tags = [tag for tag in TARGETED if tag in of_some and any(result.figure(tag) for result in results)]
    rows = []
    for result in results:
        judged = result.judged
        score = f"{sum(bool(figure.holds) for figure in judged)}/{len(judged)}" if judged else ABSENT
        errors = (error_cell(result.figure(tag)) for tag in tags)
        rows.append((result.name, result.run.meta.role, _short(result.relation), *errors, score))
    headers = ("run", "role", "profile\nfrom", *map(SHORT.__getitem__, tags), "targets\nheld")
    return TextTable("Simulated against actual, % (! misses its target)", headers, rows, left=3)


def error_cell(figure: Figure | None) -> str:
    """Percent without the sign of it, with a mark if it misses its target."""
    if figure is None:
        return ABSENT
    return bare_percent(figure.error_percent) + ("!" if figure.holds is False else "")


def _short(relation: Relation) -> str:
    return relation.replace("engine ", "")


def steps_table(results: Sequence[Validated]) -> TextTable:
    """The check of single steps: every band of one run, the total of each of several; no rows without recorded steps."""
    rows = []
    for result in results:
        for band in result.bands:
            if len(results) > 1 and band.batches not in {ALL, ENTERED, CHUNKED}:
                continue
            rows.append(
                (
                    band.batches if len(results) == 1 else f"{result.name}, {band.batches}",
                    count(band.steps),
                    number(band.recorded_s),
                    signed_percent(band.error_percent),
                    signed_percent(band.settled_error_percent),
                    signed_percent(band.median_error_percent),
                    count(band.stalls),
                    percent(band.stall_time_percent / 100, 1),
                    percent(band.stall_excess_percent / 100, 1),
                )
            )
    headers = (
        "batch" if len(results) == 1 else "run",
        "steps",
        "recorded\n(s)",
        "predicted\nall time",
        "without\nstalls",
        "median\nstep",
        "stalls",
        "time in\nstalls",
        "lost to\nstalls",
    )
    title = (
        f"What the model lacks: predicted against recorded steps (a stall takes over {STALL:g} times the prediction)"
    )
    return TextTable(title, headers, rows)


def spread_table(results: Sequence[Validated]) -> TextTable:
    """How far draws of acceptance scatter, of each run that drafts."""
    drafting = [result for result in results if result.spread]
    tags = list(dict.fromkeys(each.tag for result in drafting for each in result.spread))
    rows = []
    for result in drafting:
        by_tag = {each.tag: each for each in result.spread}
        rows.append((f"{result.name}, mean of the seeds", *(_mean_error(by_tag.get(tag)) for tag in tags)))
        rows.append(("  a seed's deviation", *(_deviation(by_tag.get(tag)) for tag in tags)))
    title = (
        f"What draws of acceptance scatter, %: simulated with {len(SEEDS) + 1} seeds, their mean against actual, and the "
        "standard deviation of one"
    )
    return TextTable(title, ("run", *map(SHORT.__getitem__, tags)), rows)


def _mean_error(spread: Spread | None) -> str:
    return bare_percent(spread.mean_error_percent) if spread else ABSENT


def _deviation(spread: Spread | None) -> str:
    return ABSENT if spread is None or spread.deviation_percent is None else f"{spread.deviation_percent:.2f}"


def runs_floor(pairs: Sequence[Pair]) -> TextTable:
    """Two runs of one stream a row."""
    rows = [
        ((f"{pair.second} / {pair.first}", _short(pair.relation), count(pair.requests)), pair.change_percent)
        for pair in pairs
    ]
    title = "Noise floor: actual runs of one stream against each other, %"
    return floor_table(title, ("runs", "of the", "requests"), rows)


def floor_table(
    title: str,
    keys: tuple[str, ...],
    rows: Sequence[tuple[tuple[str, ...], Mapping[str, float | None]]],
    tags: Sequence[str] = FLOOR,
) -> TextTable:
    """Repeats against first runs, a pair a row.

    Args:
        title: of the table.
        keys: headers of what is said of each pair.
        rows: what that is, and its changes in percent by figure.
        tags: figures; those that no pair has are left out.
    """
    tags = [tag for tag in tags if any(changes.get(tag) is not None for _, changes in rows)]
    cells = [(*said, *(bare_percent(changes.get(tag)) for tag in tags)) for said, changes in rows]
    left = max(1, len(keys) - 1)
    return TextTable(title, (*keys, *map(SHORT.__getitem__, tags)), cells, left=left)


def heading(result: Validated) -> str:
    """What was run and what it is compared with, in one line."""
    run, meta = result.run, result.run.meta
    saturated = result.saturated
    loop = run.client.loop if run.client else None
    sent = f", from a closed loop of {counted(loop.concurrency, 'client')}" if loop else ""
    rounds = run.rounds
    among = f" of {counted(int(rounds.sessions.session.max()) + 1, 'session')}" if rounds else ""
    stretch = f"; saturated from {number(saturated.start_s)} s to {number(saturated.end_s)} s" if saturated else ""
    return (
        f"{run.name}: {meta.role}, {count(len(run.served))} requests{among} in {number(run.served.duration_s)} s{sent}{stretch}; "
        f"profile from {'an' if result.relation == 'other host' else 'the '}{result.relation}"
    )


def subject(result: Validated) -> str:
    """What ran on what, and what simulates it."""
    meta, client = result.run.meta, result.run.client
    ran = f"{meta.model} {meta.variant} on {meta.card}"
    if client is None:
        estimated = " (estimated)" if result.profile.data.estimated else ""
        return f"{ran}, simulated with profile {result.profile.name}{estimated}"
    args = meta.engine_args
    return (
        f"{client.model_id}, taken for {ran} with --max-num-seqs {args.max_num_seqs} --max-num-batched-tokens "
        f"{args.max_num_batched_tokens} --max-model-len {args.max_model_len} --num-gpu-blocks {meta.num_gpu_blocks}, "
        "without prefix caching"
    )


def outside(results: Sequence[Validated]) -> str:
    """How many simulated steps the profiles were not measured for."""
    shares = [
        (percent(result.replayed.outside / result.replayed.steps, 1), result.name)
        for result in results
        if result.replayed.outside
    ]
    if not shares:
        return "Every simulated step is inside the measured range."
    if len(results) == 1:
        return f"Outside the measured range: {shares[0][0]} of the simulated steps."
    return f"Simulated steps outside the measured range: {listed([f'{share} in {name}' for share, name in shares])}."
