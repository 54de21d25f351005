"""The report of a sweep: a table over seeds, and what it means."""

from collections.abc import Iterator, Mapping, Sequence

from sunsim.points.estimate import UNSEEN, Estimate
from sunsim.report.accuracy import HEADER, exact_match
from sunsim.report.basis import base_models
from sunsim.report.blocks import Bullets, Report
from sunsim.report.columns import Column, columns
from sunsim.report.format import ABSENT, count, counted, listed, number, percent, together
from sunsim.report.origin import estimate_facts
from sunsim.report.sentences import basis, other_models
from sunsim.report.summary import OVERLOADED, marked
from sunsim.report.text_table import TextTable, table
from sunsim.sweep.accuracy import accuracy_of, told_of
from sunsim.sweep.estimates import Estimates
from sunsim.sweep.grid import Grid
from sunsim.sweep.outside import outside_measured

MOST_LINES = 120
"""Lines of a table that somebody may still read; the rest is in the files."""

SHARES = ("slo_attainment", "worst_window_slo_attainment", "cached_share")
"""Shown in percent, their differences in percentage points."""

COLUMNS = [
    *columns("gpu_hours", "mean_gpus"),
    *columns(
        "output_throughput_per_gpu", "output_throughput_per_decode_gpu", "mean_tpot_ms", "p99_tpot_ms", "p99_ttft_ms"
    ),
    Column("slo_attainment", "SLO met\n%"),
    Column("worst_window_slo_attainment", "worst\nwindow %"),
    *columns("shed"),
    Column("cached_share", "cached\n%"),
    *columns("mean_session_duration_s", "mean_acceptance_length", "mean_itl_ms"),
]

JUDGED = (("mean TPOT", "mean_tpot_ms", "ms"), ("output per GPU", "output_throughput_per_gpu", "tok/s"))
PAID = (
    ("GPU time", "gpu_hours", "GPU-hours"),
    ("SLO met", "slo_attainment", "points"),
    ("SLO met in the worst window", "worst_window_slo_attainment", "points"),
)
"""Before these where a pool is elastic: what is saved, and what that costs."""


def sweep_report(grid: Grid, estimates: Estimates, done: int) -> Report:
    """What `done` points of the grid say."""
    combinations, seeds = len(grid.combinations), len(grid.seeds)
    what = (
        f"{count(combinations)} combinations of {listed(list(grid.paths))}" if grid.paths else "the scenario as it is"
    )
    heading = f"{grid.scenario.name}: {what}, {counted(seeds, 'seed')} each; {count(done)} of {count(grid.size)} points"
    if not estimates:
        return Report(grid.scenario.name, [heading])
    return Report(grid.scenario.name, [heading, _table(grid, estimates), Bullets(sentences(grid, estimates))])


def _table(grid: Grid, estimates: Estimates) -> TextTable:
    everything = [of_arm for arms in estimates.values() for of_arm in arms]
    shown = [column for column in COLUMNS if any(of_arm.figures.get(column.tag) for of_arm in everything)]
    accuracy = accuracy_of(grid)
    rows: list[dict[str, str]] = []
    left_out = 0
    for index, arms in estimates.items():
        if len(rows) > MOST_LINES:
            left_out += 1
            continue
        if grid.paths:
            rows.append({"arm": grid.heading(index)})
        for of_arm in arms:
            name = f"  {marked(of_arm.arm, overloaded=of_arm.overloaded)}"
            known = {HEADER: exact_match(accuracy[index][of_arm.arm])} if index in accuracy else {}
            figures = {column.header: _cell(column.tag, of_arm.figures) for column in shown}
            rows.append({"arm": name} | known | figures)
            if of_arm.differences:
                cells = {column.header: _cell(column.tag, of_arm.differences, signed=True) for column in shown}
                rows.append({"arm": f"    - {arms[0].arm}"} | dict.fromkeys(known, "") | cells)
    if left_out:
        rows.append({"arm": f"and {count(left_out)} more combinations, in the files"})
    return table(rows)


def _cell(tag: str, figures: Mapping[str, Estimate | None], *, signed: bool = False) -> str:
    made = figures[tag]
    if made is None:
        return ABSENT
    times = _times(tag)
    if signed:
        text = f"{'+' if made.mean >= 0 else ''}{number(made.mean * times)}"
    else:
        text = percent(made.mean, 1).removesuffix(" %") if tag in SHARES else number(made.mean)
    if made.half_width is None or _says_nothing(tag, made):
        return text
    return f"{text} ±{number(made.half_width * times)}"


def _says_nothing(tag: str, made: Estimate | None) -> bool:
    """Whether an interval is wider than all that a share can be, as Student's t makes it of two seeds that differ a little."""
    return tag in SHARES and made is not None and made.half_width is not None and made.half_width >= 1


def sentences(grid: Grid, estimates: Estimates) -> list[str]:
    """What the arms differ in, what the intervals are, which arms are overloaded, and what was not measured."""
    models = dict.fromkeys(said for scenario in grid.scenarios for said in other_models(base_models(scenario)))
    found = [*_verdicts(estimates), *_drafting(estimates), *models, *told_of(grid), *_estimated(grid)]
    if len(grid.seeds) > 1:
        text = (
            f"±: 95 % interval of the mean over {counted(len(grid.seeds), 'seed')} (Student's t; for TTFT and SLO met, which "
            f"are not normal, that of 99 %, and for SLO met {UNSEEN:g} requests more)."
        )
        paired = (
            " With each seed all arms serve the same requests, so a difference has an interval of its own, mostly a "
            "narrower one."
        )
        wide = any(
            _says_nothing(tag, figures.get(tag))
            for arms in estimates.values()
            for of_arm in arms
            for figures in (of_arm.figures, of_arm.differences)
            for tag in SHARES
        )
        none = " A share without ± has an interval wider than 100 points: so few seeds do not tell it." if wide else ""
        found.append(text + (paired if len(grid.scenario.arms) > 1 else "") + none)
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
            f"In {count(short)} of {counted(len(estimates), 'combination')} requests arrive in less time than one takes, with "
            "at least one seed, so no rates are given there."
        )
    found.append(outside_measured(grid, estimates))
    return found


def _estimated(grid: Grid) -> list[str]:
    """That profiles of any combination were not measured."""
    profiles = [each for scenario in grid.scenarios for each in scenario.profiles.items()]
    facts = [fact for name, profile in profiles for fact in estimate_facts(name, profile)]
    return basis({"estimated": list(dict.fromkeys(facts))})


def _verdicts(estimates: Estimates) -> Iterator[str]:
    """One sentence for each arm but the first."""
    by_arm = together((of_arm.arm, of_arm) for arms in estimates.values() for of_arm in arms[1:])
    first = next(iter(estimates.values()))[0].arm
    for arm, of_arms in by_arm.items():
        known = of_arms[0].differences
        paid = [each for each in PAID if known.get(each[1])] if "gpu_hours" in known else []
        clauses = [
            f"{what} {_judged([of_arm.differences[tag] for of_arm in of_arms], unit, _times(tag))}"
            for what, tag, unit in (*paid, *JUDGED)
        ]
        yield f"{arm} against {first}{_over(len(of_arms))}: {'; '.join(clauses)}."


def _drafting(estimates: Estimates) -> Iterator[str]:
    """One sentence for each arm that drafts: what that changes."""
    drafting = [of_arm for arms in estimates.values() for of_arm in arms if of_arm.without_drafts]
    for arm, of_arms in together((of_arm.arm, of_arm) for of_arm in drafting).items():
        made = [of_arm.speed_up for of_arm in of_arms if of_arm.speed_up]
        if not made:
            continue
        losses = sum(one.mean < 1 for one in made)
        where = f" in {count(losses)} of them" if len(made) > 1 else ""
        slower = f", slower{where}" if losses else ""
        yield (
            f"{arm} against {of_arms[0].without_drafts}, the same without drafts{_over(len(made))}: tokens come "
            f"{_range([one.mean for one in made])} times as fast (mean TPOT){slower}."
        )


def _over(combinations: int) -> str:
    return f" over {combinations} combinations" if combinations > 1 else ""


def _judged(differences: Sequence[Estimate | None], unit: str, times: int) -> str:
    """In how many combinations a figure is lower or higher, for all that the interval says; `times` it is written."""
    compared = [made for made in differences if made]
    if not compared:
        return "not compared"
    if all(made.half_width is None for made in compared):
        return f"differs by {_range([made.mean * times for made in compared])} {unit}, with one seed"
    parts = []
    for sign, word in ((-1, "lower"), (1, "higher"), (0, "not clearly different")):
        sizes = [abs(made.mean) * times for made in compared if made.sign == sign]
        if sizes:
            where = f" in {'all' if len(sizes) == len(differences) else len(sizes)}" if len(differences) > 1 else ""
            parts.append(f"{word}{where}" + (f" (by {_range(sizes)} {unit})" if sign else ""))
    if len(compared) < len(differences):
        parts.append(f"not compared in {len(differences) - len(compared)}")
    return ", ".join(parts)


def _times(tag: str) -> int:
    """What a figure is multiplied by where it is written."""
    return 100 if tag in SHARES else 1


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"
