"""Accuracy files: finding them, reading them, and the mean over their tasks.

``python -m profiler accuracy`` and ``evaluate`` write them: a row a method of tuning and task, with the share of requests
that are answered exactly.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sunsim.latency.document import Document, Text, once, read_document
from sunsim.latency.profile import find_profile, profiles_root

FOLDER = "accuracy"
"""Of the shipped files, in that of a card's profiles."""
ROUNDING = 1e-9
MIN_SEEDS = 3
"""Tunings that a comparison takes: with fewer, how far they spread is luck, so no interval is given and nothing is decided."""

Share = Annotated[float, Field(ge=0, le=1)]


class AccuracyRow(Document):
    """How right one method's answers to one task are.

    Attributes:
        exact_match: share of the requests whose answer is the wanted one, token for token; the mean over seeds.
        low, high: ends of its 95 % interval.
        requests: of all seeds together.
        exact_match_by_seed: None where rows of seeds were not kept apart.
    """

    method: Text
    task: Text
    exact_match: Share
    low: Share
    high: Share
    requests: int = Field(ge=1, le=10**9)
    exact_match_by_seed: dict[Text, Share] | None = Field(default=None, max_length=10_000)

    @model_validator(mode="after")
    def _within(self) -> Self:
        if not self.low - ROUNDING <= self.exact_match <= self.high + ROUNDING:
            message = f"exact_match is {self.exact_match:g}, must be from low ({self.low:g}) to high ({self.high:g})"
            raise ValueError(message)
        return self


class AccuracyData(Document):
    """The JSON document of an accuracy file. Keys beyond these are kept, not interpreted.

    Attributes:
        model: the base model that was tuned.
        parameters: of it.
        measured: the day.
        seeds: tunings of each method and task, the least where they differ.
    """

    schema_version: Literal[1]
    model: Text
    parameters: int = Field(ge=1, le=10**15)
    measured: Text
    card: Text
    seeds: int = Field(ge=1, le=10**6)
    tasks: list[Text] = Field(max_length=1000)
    rows: list[AccuracyRow] = Field(max_length=100_000)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not (self.tasks and self.rows):
            message = f"has no {'rows' if self.tasks else 'tasks'}, must have at least one"
            raise ValueError(message)
        if again := next((task for i, task in enumerate(self.tasks) if task in self.tasks[:i]), None):
            message = f"tasks have {again} twice, must have it once"
            raise ValueError(message)
        seen: set[tuple[str, str]] = set()
        for row in self.rows:
            if row.task not in self.tasks:
                message = f"rows have the task {row.task}, must be one of tasks"
                raise ValueError(message)
            if (row.method, row.task) in seen:
                message = f"rows have {row.method} on {row.task} twice, must have it once"
                raise ValueError(message)
            seen.add((row.method, row.task))
        return self


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """The mean over tasks, the ends of its 95 % interval, the requests of all tasks, and the seeds of the task with the fewest.

    With fewer than three seeds the interval is that of the requests, and says little of how far tunings spread.
    """

    mean: float
    low: float
    high: float
    requests: int
    seeds: int


@dataclass(frozen=True, slots=True, eq=False)
class AccuracyFile:
    """An accuracy file as loaded, with the SHA-256 of its bytes."""

    path: Path
    sha256: str
    data: AccuracyData

    def methods(self, tasks: Collection[str]) -> list[str]:
        """Those that were measured on all of these tasks, in the order of the rows."""
        found: dict[str, set[str]] = {}
        for row in self.data.rows:
            found.setdefault(row.method, set()).add(row.task)
        return [method for method, own in found.items() if own.issuperset(tasks)]

    def exact_match(self, method: str, tasks: Collection[str]) -> ExactMatch:
        """Of a method that was measured on all of these tasks."""
        return mean_over([row for row in self.data.rows if row.method == method and row.task in tasks], self.data.seeds)


def too_few(seeds: int) -> str:
    """How many there are, in words, where they are too few for an interval; else empty."""
    return {1: "one seed", 2: "two seeds"}[seeds] if seeds < MIN_SEEDS else ""


def mean_over(rows: Sequence[AccuracyRow], seeds: int) -> ExactMatch:
    """The mean over tasks, each of which counts the same; `seeds` are those of rows that do not say theirs.

    Its interval comes from the tasks' own, which need not be symmetric: deviations of independent estimates add up by
    their squares (MOVER: Zou and Donner 2008, Statistics in Medicine 27, 1693).
    """
    mean = fmean(row.exact_match for row in rows)
    below = sqrt(sum((row.exact_match - row.low) ** 2 for row in rows)) / len(rows)
    above = sqrt(sum((row.high - row.exact_match) ** 2 for row in rows)) / len(rows)
    fewest = min(len(row.exact_match_by_seed or ()) or seeds for row in rows)
    return ExactMatch(mean, max(0.0, mean - below), min(1.0, mean + above), sum(row.requests for row in rows), fewest)


def list_accuracy() -> list[str]:
    """Names of the shipped accuracy files, sorted: ``<gpu>/accuracy/<model>``."""
    root = profiles_root()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.glob(f"*/{FOLDER}/*.json"))


def accuracy_named(name: str) -> AccuracyFile:
    """A shipped accuracy file by its name, or the one at a ``.json`` path.

    Raises:
        FileNotFoundError: there is none.
        InputError: as `load_accuracy`.
    """
    return load_accuracy(find_profile(name, Path()))


@once(64)
def load_accuracy(path: Path) -> AccuracyFile:
    """Reads and checks an accuracy file, once for each state of it.

    Raises:
        InputError: it is not one of this schema version, or a value is out of range.
    """
    data, sha256 = read_document(path, AccuracyData, "an accuracy file of schema version 1")
    return AccuracyFile(path, sha256, data)
