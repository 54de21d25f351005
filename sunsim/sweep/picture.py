"""The picture of a sweep: which swept value goes along the axis, and which settings get a row each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plots.sweep import Mark, Row, plot_sweep
from sunsim.metrics.registry import REGISTRY
from sunsim.sweep.estimates import Estimates
from sunsim.sweep.grid import Grid, short_names, written

PANELS = ("mean_tpot_ms", "p99_ttft_ms", "output_throughput_per_gpu")
MOST_ROWS = 4
UNITS = {"_rps": "req/s", "_ms": "ms", "_s": "s", "_gbit_s": "Gbit/s", "_tokens": "tokens"}


def draw(path: Path, grid: Grid, estimates: Estimates) -> None:
    """Writes the PNG file; the first swept numbers go along the axis, at most four settings of the rest get a row."""
    values = {index: grid.combinations[index].values for index in estimates}
    along, names = _along(grid, values), short_names(grid.paths)
    groups: dict[str, list[int]] = {}
    for index, of in values.items():
        rest = {name: value for name, value in of.items() if along is not None and name != along}
        title = (
            ""
            if grid.combine == "zip"
            else ", ".join(f"{names[path]} {written(value)}" for path, value in rest.items())
        )
        groups.setdefault(title, []).append(index)
    shown = _spread(list(groups))
    ticks: list[str] = []
    if along is None:
        ticks = [", ".join(map(written, of.values())) or "all" for of in values.values()]
    elif not _numeric(values, along):
        ticks = list(dict.fromkeys(written(of[along]) for of in values.values()))

    def place(index: int) -> float:
        if along is None:
            return list(values).index(index)
        value = values[index][along]
        return ticks.index(written(value)) if ticks else float(value)

    rows = [
        Row(title, {REGISTRY[tag].label: _marks(tag, groups[title], estimates, place) for tag in PANELS})
        for title in shown
    ]
    label = ", ".join(names.values()) if along is None else _label(along)
    named = (of_arm.arm for arms in estimates.values() for of_arm in arms)
    arms = dict.fromkeys([*(arm.name for arm in grid.scenario.arms), *named])
    plot_sweep(rows, list(arms), label, path, ticks, _note(grid, len(groups), len(shown), estimates))


def _along(grid: Grid, values: Mapping[int, Mapping[str, Any]]) -> str | None:
    """The path along the axis; None where only the combination as a whole tells points apart."""
    numeric = [path for path in grid.paths if _numeric(values, path)]
    if grid.combine == "zip":
        apart = [path for path in numeric if len({of[path] for of in values.values()}) == len(values)]
        return apart[0] if apart else None
    return next(iter([*numeric, *grid.paths]), None)


def _numeric(values: Mapping[int, Mapping[str, Any]], path: str) -> bool:
    return all(isinstance(of[path], int | float) and not isinstance(of[path], bool) for of in values.values())


def _marks(tag: str, group: Sequence[int], estimates: Estimates, place: Any) -> dict[str, list[Mark]]:
    marks: dict[str, list[Mark]] = {}
    for index in sorted(group, key=place):
        for of_arm in estimates[index]:
            made = of_arm.figures[tag]
            if made:
                mark = Mark(place(index), made.mean, made.half_width or 0.0, faint=of_arm.overloaded)
                marks.setdefault(of_arm.arm, []).append(mark)
    return marks


def _spread(titles: Sequence[str]) -> list[str]:
    """At most four of them, the first and the last included."""
    if len(titles) <= MOST_ROWS:
        return list(titles)
    return [titles[round(i * (len(titles) - 1) / (MOST_ROWS - 1))] for i in range(MOST_ROWS)]


def _note(grid: Grid, groups: int, shown: int, estimates: Estimates) -> str:
    parts = [f"mean of {len(grid.seeds)} seeds, bars: 95 % interval" if len(grid.seeds) > 1 else "one seed"]
    if any(of_arm.overloaded for arms in estimates.values() for of_arm in arms):
        parts.append("hollow: overloaded, so TTFT depends on the run's length")
    if shown < groups:
        parts.append(f"{shown} of {groups} settings of the other swept values")
    return "; ".join(parts)


def _label(path: str) -> str:
    unit = next((unit for end, unit in sorted(UNITS.items(), key=lambda item: -len(item[0])) if path.endswith(end)), "")
    name = path.removeprefix("workload.")
    return f"{name} ({unit})" if unit else name
