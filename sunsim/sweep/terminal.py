"""A sweep on a console: a table over seeds, what it means, what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.report.basis import base_models
from sunsim.report.blocks import bullets, say
from sunsim.report.format import ABSENT, count, listed, number, percent
from sunsim.report.sentences import other_models
from sunsim.report.table import OVERLOADED
from sunsim.report.text_table import TextTable
from sunsim.sweep.estimates import UNSEEN
from sunsim.sweep.grid import Grid, short_names, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sunsim.sweep.estimates import ArmEstimates, Estimate

    Estimates = Mapping[int, Sequence[ArmEstimates]]

MOST_LINES = 120
"""Lines of a table that somebody may still read; the rest is in the files."""

COLUMNS = {
    "output_throughput_per_gpu": "per GPU\ntok/s",
    "output_throughput_per_decode_gpu": "per decode\nGPU tok/s",
    "mean_tpot_ms": "TPOT mean\nms",
    "p99_tpot_ms": "TPOT p99\nms",
    "p99_ttft_ms": "TTFT p99\nms",
    "slo_attainment": "SLO met\n%",
}

SHARES = {"slo_attainment"}
"""Metrics shown in percent, their differences in percentage points."""

JUDGED = (("mean TPOT", "mean_tpot_ms", "ms"), ("output per GPU", "output_throughput_per_gpu", "tok/s"))


def show(grid: Grid, estimates: Estimates, done: int, place: str) -> None:
    """Prints what `done` points of the grid say, and in which `place` the files are."""
    combinations, seeds = len(grid.combinations), len(grid.seeds)
    what = (
        f"{count(combinations)} combinations of {listed(list(grid.paths))}" if grid.paths else "the scenario as it is"
    )
    heading = f"{grid.scenario.name}: {what}, {_plural(seeds, 'seed')} each; {count(done)} of {count(grid.size)} points"
    if not estimates:
        say([heading])
        return
    say([heading, _table(grid, estimates), [*bullets(sentences(grid, estimates)), f"Files: {place}"]])


def _table(grid: Grid, estimates: Estimates) -> TextTable:
    everything = [of_arm for arms in estimates.values() for of_arm in arms]
    shown = {tag: header for tag, header in COLUMNS.items() if any(of_arm.figures[tag] for of_arm in everything)}
    rows: list[tuple[str, ...]] = []
    left_out = 0
    for index, arms in estimates.items():
        if len(rows) > MOST_LINES:
            left_out += 1
            continue
        if grid.paths:
            rows.append((_heading(grid, index),))
        for of_arm in arms:
            name = f"  {of_arm.arm}{OVERLOADED if of_arm.overloaded else ''}"
            rows.append((name, *(_cell(tag, of_arm.figures[tag]) for tag in shown)))
            if of_arm.differences:
                cells = (_cell(tag, of_arm.differences[tag], signed=True) for tag in shown)
                rows.append((f"    - {arms[0].arm}", *cells))
    if left_out:
        rows.append((f"and {count(left_out)} more combinations, in the files",))
    return TextTable("", ("arm", *shown.values()), rows)


def _heading(grid: Grid, index: int) -> str:
    names = short_names(grid.paths)
    return ", ".join(f"{names[path]} {written(value)}" for path, value in grid.combinations[index].values.items())


def _cell(tag: str, made: Estimate | None, *, signed: bool = False) -> str:
    if made is None:
        return ABSENT
    share = tag in SHARES
    times = 100 if share else 1
    if signed:
        text = f"{'+' if made.mean >= 0 else ''}{number(made.mean * times)}"
    else:
        text = percent(made.mean, 1).removesuffix(" %") if share else number(made.mean)
    return text if made.half_width is None else f"{text} ±{number(made.half_width * times)}"


def sentences(grid: Grid, estimates: Estimates) -> list[str]:
    """What the arms differ in, what the intervals are, and which arms are overloaded."""
    found = [*_verdicts(estimates), *_other_models(grid)]
    if len(grid.seeds) > 1:
        text = (
            f"±: 95 % interval of the mean over {_plural(len(grid.seeds), 'seed')} (Student's t; for TTFT and SLO met, which "
            f"are not normal, that of 99 %, and for SLO met {UNSEEN:g} requests more)."
        )
        paired = (
            " With each seed all arms serve the same requests, so a difference has an interval of its own, mostly a "
            "narrower one."
        )
        found.append(text + (paired if len(grid.scenario.arms) > 1 else ""))
    else:
        found.append("One seed: how far these are from the mean of many is not known; sweep.seeds asks for more.")
    overloaded = {of_arm.arm for arms in estimates.values() for of_arm in arms if of_arm.overloaded}
    if overloaded:
        found.append(
            f"{OVERLOADED} Overloaded with at least one seed ({listed(sorted(overloaded))}): the queue still grows when "
            "measuring ends, so what depends on it also depends on the run's length and is not compared."
        )
    short = sum(any(of_arm.window_too_short for of_arm in arms) for arms in estimates.values())
    if short:
        found.append(
            f"In {count(short)} of {_plural(len(estimates), 'combination')} requests arrive in less time than one takes, with "
            "at least one seed, so no rates are given there."
        )
    return found


def _other_models(grid: Grid) -> Iterator[str]:
    """Whether the arms are of more than one base model, in any combination."""
    whole = [combination.scenario for combination in grid.combinations if combination.scenario]
    yield from dict.fromkeys(said for scenario in whole for said in other_models(base_models(scenario)))


def _verdicts(estimates: Estimates) -> Iterator[str]:
    """One sentence for each arm but the first."""
    by_arm: dict[str, list[ArmEstimates]] = {}
    for arms in estimates.values():
        for of_arm in arms[1:]:
            by_arm.setdefault(of_arm.arm, []).append(of_arm)
    first = next(iter(estimates.values()))[0].arm
    for arm, of_arms in by_arm.items():
        clauses = [
            f"{what} {_judged([of_arm.differences[tag] for of_arm in of_arms], unit)}" for what, tag, unit in JUDGED
        ]
        yield f"{arm} against {first}{_over(len(of_arms))}: {'; '.join(clauses)}."


def _over(combinations: int) -> str:
    return f" over {combinations} combinations" if combinations > 1 else ""


def _judged(differences: Sequence[Estimate | None], unit: str) -> str:
    """In how many combinations a figure is lower or higher, for all that the interval says."""
    compared = [made for made in differences if made]
    if not compared:
        return "not compared"
    if all(made.half_width is None for made in compared):
        return f"differs by {_range([made.mean for made in compared])} {unit}, with one seed"
    parts = []
    for sign, word in ((-1, "lower"), (1, "higher"), (0, "not clearly different")):
        sizes = [abs(made.mean) for made in compared if made.sign == sign]
        if sizes:
            where = f" in {'all' if len(sizes) == len(differences) else len(sizes)}" if len(differences) > 1 else ""
            parts.append(f"{word}{where}" + (f" (by {_range(sizes)} {unit})" if sign else ""))
    if len(compared) < len(differences):
        parts.append(f"not compared in {len(differences) - len(compared)}")
    return ", ".join(parts)


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _plural(number_of: int, what: str) -> str:
    return f"{count(number_of)} {what}{'s' if number_of != 1 else ''}"
