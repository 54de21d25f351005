"""What a scenario file may say about how its traffic changes while it runs."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from sunsim.document.block import Block, Duration, Moment, Name, Positive, Rate, path_without_controls

MOST_ENTRIES = 100_000
FlowRate: TypeAlias = Annotated[float, Field(ge=0, le=1e9)]
"""Per second; none for a while is a rate too."""
Weight: TypeAlias = Annotated[float, Field(ge=0, le=1e9)]


def _refuse_unordered(times_s: list[float], what: str) -> None:
    for before_s, time_s in pairwise(times_s):
        if time_s <= before_s:
            message = f"{what} are at {time_s:g} s after {before_s:g} s, must rise"
            raise ValueError(message)


class Diurnal(Block):
    """A day: ``1 + (peak_to_mean - 1) cos(2 pi (t - peak_s) / period_s)`` times its mean, which it has over a period."""

    kind: Literal["diurnal"] = "diurnal"
    peak_to_mean: float = Field(ge=1, le=2)
    peak_s: Moment
    period_s: Duration = 86_400.0


class RateSteps(Block):
    """Rates that hold from a second on, until the next one: pairs of both, of which the first begins at 0."""

    kind: Literal["steps"] = "steps"
    rates: Annotated[
        tuple[Annotated[tuple[Moment, FlowRate], Field(strict=False)], ...],
        Field(strict=False, min_length=1, max_length=MOST_ENTRIES),
    ]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times_s = [time_s for time_s, _ in self.rates]
        if times_s[0]:
            message = f"the first of rates is at {times_s[0]:g} s, must be at 0"
            raise ValueError(message)
        _refuse_unordered(times_s, "rates")
        return self


class RateFile(Block):
    """Straight lines between the points of a CSV file with the columns ``time_s`` and ``rate_rps``."""

    kind: Literal["csv"] = "csv"
    path: Annotated[Path, Field(strict=False), AfterValidator(path_without_controls)]


Curve: TypeAlias = Diurnal | RateSteps | RateFile


class Bursts(Block):
    """Times of a higher rate, which come at random: on top of the mean rate, which is that without them.

    Attributes:
        every_s: from the end of one to the beginning of the next in the mean, exponential; from 0 to the first too.
        length_s: of each.
        factor: times the rate that there would be.
    """

    every_s: Duration
    length_s: Duration
    factor: float = Field(ge=1, le=1000)

    @property
    def gain(self) -> float:
        """How many times the requests there are in the mean, in the long run."""
        return 1 + (self.factor - 1) * self.length_s / (self.every_s + self.length_s)


class Renewal(Block):
    """Arrivals of their own accord.

    Attributes:
        rate_rps: in requests per second; with a curve its mean over the run. A curve of rates of its own may do without,
            and has it when the scenario is completed.
        curve: how the rate changes: the times between arrivals are then drawn in expected arrivals instead of seconds.
        bursts: on top of that.
    """

    kind: str
    rate_rps: Rate | None = None
    curve: Curve | None = Field(default=None, discriminator="kind")
    bursts: Bursts | None = None

    @property
    def mean_rps(self) -> float:
        """`rate_rps`, which completed arrivals have."""
        assert self.rate_rps is not None
        return self.rate_rps

    @property
    def said_rate(self) -> str:
        """`mean_rps`, as errors say it: it may be the mean of a curve, though the scenario has no `rate_rps`."""
        if self.curve is None or isinstance(self.curve, Diurnal):
            return f"workload.arrivals.rate_rps is {self.mean_rps:g}"
        return f"workload.arrivals has {self.mean_rps:g} requests/s in the mean"

    @property
    def changes(self) -> bool:
        """Whether the rate does."""
        return self.curve is not None or self.bursts is not None


class Flips(Block):
    """At each multiple of `every_s` the models' shares change hands.

    Attributes:
        order: each model gets the share of the one before it, the first the last one's; or all get them in an order that
            is drawn anew from the shares at the beginning.
    """

    kind: Literal["flips"] = "flips"
    every_s: Duration
    order: Literal["rotate", "shuffle"] = "rotate"


class PopularityStep(Block):
    """From `at_s` on a model's share of the requests is its weight over the sum of all."""

    at_s: Moment
    weights: dict[Name, Weight]

    def __hash__(self) -> int:
        """`weights` has none."""
        return hash(self.at_s)


class PopularitySteps(Block):
    """Shares from a time on, before the first of which the models have their own.

    Attributes:
        between: whether they jump there, or go in straight lines from one step to the next.
    """

    kind: Literal["steps"] = "steps"
    steps: Annotated[tuple[PopularityStep, ...], Field(strict=False, min_length=1, max_length=10_000)]
    between: Literal["jump", "linear"] = "jump"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _refuse_unordered([step.at_s for step in self.steps], "steps")
        return self


Popularity: TypeAlias = Flips | PopularitySteps


def sooner(popularity: Popularity, times: float) -> Popularity:
    """The same changes, so many times sooner after the beginning."""
    if isinstance(popularity, Flips):
        return popularity.model_copy(update={"every_s": popularity.every_s / times})
    steps = tuple(step.model_copy(update={"at_s": step.at_s / times}) for step in popularity.steps)
    return popularity.model_copy(update={"steps": steps})


class Stretch(Block):
    """A part of a trace, in its own time, whose arrivals are divided by `rate_scale`."""

    start_s: Moment
    duration_s: Duration
    rate_scale: Positive = 1.0

    @property
    def end_s(self) -> float:
        """Of the trace's own time."""
        return self.start_s + self.duration_s


def refuse_overlap(stretches: Iterable[Stretch]) -> None:
    """Raises ValueError where one begins before another has ended."""
    for before, after in pairwise(sorted(stretches, key=lambda stretch: stretch.start_s)):
        if after.start_s < before.end_s:
            message = f"the stretch from {after.start_s:g} s begins before that from {before.start_s:g} s ends"
            message += f" ({before.end_s:g} s), must not overlap: no request is used twice"
            raise ValueError(message)
