"""What a sweep consists of: every combination of its values, and every seed of each."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sunsim.document.source import Loc, Source
from sunsim.errors import InputError
from sunsim.points.point import Point
from sunsim.scenario import Scenario, Sweep, checked, read_source
from sunsim.scenario.loading import Given

Choice = tuple[int, ...]

MOST_POINTS = 1_000_000
OVER: Loc = ("sweep", "over")
EXAMPLE = "sweep: {seeds: 5, over: {workload.arrivals.rate_rps: [20, 40]}}"


@dataclass(frozen=True, slots=True)
class Combination:
    """One value for every swept path.

    Attributes:
        values: by dotted path.
        scenario: with these values; None if they don't go together.
        fault: why they don't.
    """

    values: Mapping[str, Any]
    scenario: Scenario | None
    fault: InputError | None = None

    def __str__(self) -> str:
        return ", ".join(f"{path} = {written(value)}" for path, value in self.values.items()) or "the scenario itself"


@dataclass(frozen=True, slots=True)
class Grid:
    """A sweep before anything has run.

    Attributes:
        scenario: the file's, as it stands.
        paths: the swept ones, in the order of the file.
        combine: `product` or `zip`.
        combinations: the first path's values change last.
    """

    scenario: Scenario
    paths: tuple[str, ...]
    combine: str
    seeds: tuple[int, ...]
    combinations: tuple[Combination, ...]

    def points(self) -> Iterator[Point]:
        """Every point whose values go together, combination by combination."""
        for index, combination in enumerate(self.combinations):
            if combination.scenario:
                for seed in self.seeds:
                    yield Point(index, seed, combination.scenario.changed(seed=seed))

    @property
    def scenarios(self) -> list[Scenario]:
        """Of the combinations whose values go together."""
        return [each.scenario for each in self.combinations if each.scenario]

    @property
    def size(self) -> int:
        """Number of points, those whose values don't go together included."""
        return len(self.combinations) * len(self.seeds)

    def heading(self, index: int) -> str:
        """A combination's values under short names: rate_rps 20, alpha 0."""
        names = short_names(self.paths)
        return ", ".join(f"{names[path]} {written(value)}" for path, value in self.combinations[index].values.items())


def written(value: Any) -> str:
    """A swept value for people: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """For each path, as much of its end as tells it from the others."""
    names = {}
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        names[path] = next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in paths) == 1), path)
    return names


def load_grid(given: Given, overrides: Sequence[str] = (), seed: int | None = None) -> Grid:
    """Reads and checks a scenario with a `sweep` block.

    Args:
        overrides: ``path=value`` each, applied before the sweep's values.
        seed: replaces the scenario's, from which a number of seeds is counted.

    Raises:
        InputError: the scenario or the block is wrong, or a value goes together with nothing it is combined with.
    """
    source = read_source(given, overrides, seed)
    scenario = checked(source)
    sweep = scenario.sweep
    if sweep is None:
        message = f"has no sweep block, must have one such as {EXAMPLE}"
        raise InputError(message, source.file)
    _check_paths(sweep, overrides, source)
    choices = _choices(sweep, source)
    combinations = tuple(_combined(sweep, choice, source) for choice in choices)
    _refuse_hopeless(choices, combinations)
    return Grid(
        scenario=scenario.changed(sweep=None, plan=None),
        paths=tuple(sweep.over),
        combine=sweep.combine,
        seeds=_seeds(sweep, scenario.seed, source),
        combinations=combinations,
    )


def _seeds(sweep: Sweep, first: int, source: Source) -> tuple[int, ...]:
    if isinstance(sweep.seeds, int):
        return tuple(range(first, first + sweep.seeds))
    for index, seed in enumerate(sweep.seeds):
        if seed in sweep.seeds[:index]:
            message = f"sweep.seeds: {seed} is given twice, each must be there once"
            raise source.error(("sweep", "seeds", index), message)
    return sweep.seeds


def _check_paths(sweep: Sweep, overrides: Sequence[str], source: Source) -> None:
    given = {override.partition("=")[0] for override in overrides}
    for path in sweep.over:
        if path in given:
            message = f"{path} is swept, must be left alone: change sweep.over, or take it out of there"
            raise InputError(message, "--set")
        top = path.partition(".")[0]
        if top in {"name", "seed", "sweep", "plan"}:
            instead = "must be given as sweep.seeds" if path == "seed" else "must be left out: it is not simulated"
            raise source.error((*OVER, path), f"sweep.over.{path} {instead}")


def _choices(sweep: Sweep, source: Source) -> list[Choice]:
    """For each combination, which value of each path."""
    lengths = {path: len(values) for path, values in sweep.over.items()}
    seeds = sweep.seeds if isinstance(sweep.seeds, int) else len(sweep.seeds)
    if sweep.combine == "zip":
        first = next(iter(lengths), "")
        for path, length in lengths.items():
            if length != lengths[first]:
                message = f"sweep.over.{path} has {length} values, must have {lengths[first]} as {first} has"
                raise source.error((*OVER, path), f"{message}, because combine is zip")
        choices: list[Choice] = [(index,) * len(lengths) for index in range(lengths[first])] if lengths else [()]
    else:
        number = math.prod(lengths.values()) * seeds
        if number > MOST_POINTS:
            message = f"sweep has {number:,} points, must have at most {MOST_POINTS:,}"
            raise source.error(("sweep",), message)
        choices = list(itertools.product(*map(range, lengths.values())))
    _refuse_twice(sweep, source)
    return choices


def _refuse_twice(sweep: Sweep, source: Source) -> None:
    if sweep.combine == "zip":
        together = list(zip(*sweep.over.values(), strict=True))
        lists: list[tuple[str, Sequence[Any]]] = [(next(iter(sweep.over), ""), together)]
    else:
        lists = list(sweep.over.items())
    for path, values in lists:
        for index, value in enumerate(values):
            if value in values[:index]:
                message = f"sweep.over: {written(value)} is there twice, must be there once"
                raise source.error((*OVER, path, index), message)


def _combined(sweep: Sweep, choice: Choice, source: Source) -> Combination:
    values = {path: values[index] for (path, values), index in zip(sweep.over.items(), choice, strict=True)}
    variant = source.variant()
    for block in ("sweep", "plan"):
        variant.root.pop(block, None)
    try:
        for path, index in zip(sweep.over, choice, strict=True):
            place = source.error((*OVER, path, index), "")
            # As read, not as plain values: faults inside a mapping are told by their lines.
            as_read = source.root["sweep"]["over"][path][index]
            variant.override(path, as_read, (place.file or source.file, place.line))
        scenario = checked(variant)
        _ = scenario.trace  # which may not go together with the values
        return Combination(values, scenario)
    except InputError as fault:
        return Combination(values, None, fault)


def _refuse_hopeless(choices: Sequence[Choice], combinations: Sequence[Combination]) -> None:
    """A value that goes together with nothing is a mistake in the file; one that sometimes does is not.

    Raises:
        InputError: there is one.
    """
    pairs = list(zip(choices, combinations, strict=True))
    good = {chosen for choice, combination in pairs if combination.scenario for chosen in enumerate(choice)}
    for choice, combination in pairs:
        if combination.fault and (not choice or any(chosen not in good for chosen in enumerate(choice))):
            raise _with_values(combination)


def _with_values(combination: Combination) -> InputError:
    """Its fault; where that is not about a swept value itself, the values are told too."""
    fault = combination.fault
    assert fault
    if any(fault.message.startswith((f"{path} ", f"unknown key {path}")) for path in combination.values):
        return fault
    return InputError(f"{fault.message} (swept: {combination})", fault.file, fault.line)
