"""Forms that the time of a decode step may have, side by side: ``python -m benchmarks.step_models``.

Every form starts from the steady steps of a profile and has a few numbers that are fitted to the profile's own traffic.
It is judged twice: on each sweep of traffic by numbers fitted to the other sweeps, and on the decode steps of the reported
runs of the same engine, to which nothing is fitted. `sunsim.latency.traffic` has the form that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.recorded import SHAPES, SLOPES, Start, Steps, runs_of, shape_of, sweeps_of
from benchmarks.show import show
from sunsim.latency.decode import ALONE, TRIED
from sunsim.latency.profile import load_profile
from sunsim.latency.traffic import LASTING, Chosen, Floats, Sweeps
from sunsim.report.format import together
from sunsim.report.text_table import TextTable
from sunsim.validation.folders import committed_campaigns

NOTE = (
    "Errors of decode steps, model against recorded, in %, root mean square. Sweeps: each by numbers fitted to the other "
    "sweeps of its profile, all its time in total and the spread of its points. Runs: all time of a run, by numbers fitted "
    "to all sweeps; isolated and shared are chat. Fitted: how many numbers are."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A form of the step time.

    Attributes:
        numbers: names of columns of the steps, each multiplied by a number.
        tried: what `alone` is chosen from.
        table: how the numbers are fitted.
    """

    name: str
    start: Start
    numbers: tuple[str, ...] = ()
    tried: tuple[float, ...] = (ALONE,)
    table: type[Sweeps] = Sweeps

    @property
    def fitted(self) -> int:
        """How many numbers are fitted, `alone` among them."""
        return len(self.numbers) + (len(self.tried) > 1)

    def sweeps(self, steps: Steps) -> Sweeps:
        """The steps as the form takes them.

        Raises:
            KeyError: a column was not recorded.
        """
        rows = steps.columns[list(self.numbers)].to_numpy(np.float64)
        said_ms = {alone: steps.said_ms[self.start, alone] for alone in self.tried}
        step_ms, weights = (steps.columns[name].to_numpy(np.float64) for name in ("step_ms", "steps"))
        return self.table(rows, step_ms, said_ms, weights)


class NoneBelowZero(Sweeps):
    """Numbers of a sum of costs, none of which is negative."""

    __slots__ = ()

    def fit(self, chosen: Chosen) -> tuple[float, Floats]:
        """As `Sweeps.fit`, on top of nothing."""
        weights = np.sqrt(self.steps[chosen]) / self.step_ms[chosen]
        scale = self.rows.max(axis=0)
        numbers, _ = nnls(self.rows[chosen] / scale * weights[:, None], self.step_ms[chosen] * weights)
        return ALONE, numbers / scale


PLAIN = ("batch", "context_tokens")
KEPT = ("first requests", "context_tokens")
JOINS = ("joined a step", "join_steps", "after_join_steps")
SUM = ("constant", "batch", "graph", "context_tokens")
CANDIDATES = (
    Candidate("steady lines", Start.STEADY),
    Candidate("steady + constant, request, token", Start.STEADY, ("constant", *PLAIN)),
    Candidate("steady + the same, token by batch", Start.STEADY, ("constant", "batch", *SLOPES)),
    Candidate("attention, alone 3.5", Start.ATTENTION),
    Candidate("attention, alone 3.5 + request, token", Start.ATTENTION, PLAIN),
    Candidate("attention, alone fitted", Start.ATTENTION, (), TRIED),
    Candidate("the same + request, token", Start.ATTENTION, PLAIN, TRIED),
    Candidate(f"kept: the same, first {LASTING} requests", Start.ATTENTION, KEPT, TRIED),
    Candidate("kept + token x log2 of the batch", Start.ATTENTION, (*KEPT, "token by log2 batch"), TRIED),
    Candidate("kept + each who joins", Start.ATTENTION, (*KEPT, "joined a step"), TRIED),
    Candidate("kept + the same, at, after a join", Start.ATTENTION, (*KEPT, *JOINS), TRIED),
    Candidate("kept + longest context", Start.ATTENTION, (*KEPT, "longest_tokens"), TRIED),
    Candidate("kept + deviation of contexts", Start.ATTENTION, (*KEPT, "context_std_tokens"), TRIED),
    Candidate("sum of costs: constant to token", Start.NOTHING, SUM, table=NoneBelowZero),
    Candidate("sum of costs, longest, joins too", Start.NOTHING, (*SUM, "longest_tokens", *JOINS), table=NoneBelowZero),
)


class Measured(NamedTuple):
    """A profile's sweeps, and runs of the same engine."""

    sweeps: Steps
    runs: Steps


def left_out(sweeps: Sweeps, traffic: NDArray[np.str_]) -> tuple[float, float]:
    """Each sweep by numbers fitted to the others: relative error in total, and its spread; over sweeps as `size_of`."""
    errors, spreads = zip(*(sweeps.errors(traffic == name) for name in np.unique(traffic)), strict=True)
    return size_of(errors), size_of(spreads)


def unseen(candidate: Candidate, measured: Measured) -> dict[str, float]:
    """The relative error of all decode steps of each run together, by numbers fitted to all sweeps."""
    sweeps, runs = candidate.sweeps(measured.sweeps), candidate.sweeps(measured.runs)
    alone, numbers = sweeps.fit(np.full(len(sweeps.steps), True))
    predicted_ms = runs.said_ms[alone] + runs.rows @ numbers
    of_run = {name: measured.runs.traffic == name for name in np.unique(measured.runs.traffic).tolist()}
    return {name: float(predicted_ms[which].sum() / runs.step_ms[which].sum() - 1) for name, which in of_run.items()}


def size_of(errors: Sequence[float]) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean(np.square(errors))))


def measured_campaigns() -> Iterator[tuple[str, Measured]]:
    """By card, the reported campaigns with runs of some shape whose profile is of their own host and knows its traffic's requests.

    Not those with adapters, whose number no form knows.
    """
    for campaign in committed_campaigns():
        profile = load_profile(campaign.profile)
        of_its_own = campaign.plan.purpose == "reported" and not campaign.plan.profile_host
        known = profile.data.served_lengths and not profile.adapters
        if of_its_own and known and any(map(shape_of, campaign.runs)):
            yield profile.data.gpu, Measured(sweeps_of(profile.data), runs_of(campaign, profile.data))


def scores(candidate: Candidate, measured: Sequence[Measured], shapes: Sequence[str]) -> list[float]:
    """Sizes of the errors: of left out sweeps in total and their spread, of runs by shape, and of all runs."""
    swept = [left_out(candidate.sweeps(each.sweeps), each.sweeps.traffic) for each in measured]
    errors = [error for each in measured for error in unseen(candidate, each).items()]
    by_shape = [[error for run, error in errors if shape_of(run) == shape] for shape in shapes]
    return [*map(size_of, zip(*swept, strict=True)), *map(size_of, by_shape), size_of([error for _, error in errors])]


def table(card: str, measured: Sequence[Measured]) -> TextTable:
    """A row a candidate whose columns were recorded on the card."""
    runs = [run for each in measured for run in np.unique(each.runs.traffic).tolist()]
    shapes = [shape for shape in SHAPES if shape in map(shape_of, runs)]
    rows = [
        (each.name, str(each.fitted), *(f"{100 * size:.2f}" for size in scores(each, measured, shapes)))
        for each in CANDIDATES
        if all(set(each.numbers) <= set(of_profile.sweeps.columns) for of_profile in measured)
    ]
    headers = ("", "fitted", "sweeps:\ntotal", "\nspread", f"runs:\n{shapes[0]}", *shapes[1:], "all")
    return TextTable(f"{card}, {len(measured)} profiles, {len(runs)} runs", headers, rows)


def main() -> None:
    """Prints a table a card."""
    by_card = together(measured_campaigns())
    show([NOTE, *(table(card, measured) for card, measured in by_card.items())])


if __name__ == "__main__":
    main()
