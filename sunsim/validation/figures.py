"""Figures of both sides: what any record, a worker's run or an arm of a cluster, and its simulation come down to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both sides.

    Attributes:
        error_percent: simulated against actual; None where the actual value is 0, and where it would say nothing.
        low_percent, high_percent: its 95 % interval; None where a record gives but one value.
        tolerance_percent: how far off it may be; None if nothing is said.
        holds: whether it is within; None without a tolerance.
    """

    tag: str
    actual: float | None
    simulated: float | None
    error_percent: float | None
    low_percent: float | None = None
    high_percent: float | None = None
    tolerance_percent: float | None = None
    holds: bool | None = None

    def held_to(self, tolerance_percent: float | None) -> "Figure":
        """The same with a tolerance; one that cannot be compared does not hold."""
        if tolerance_percent is None:
            return self
        holds = self.error_percent is not None and abs(self.error_percent) <= tolerance_percent
        return replace(self, tolerance_percent=tolerance_percent, holds=holds)


@dataclass(frozen=True, slots=True)
class Compared:
    """A record beside its simulation."""

    name: str
    figures: list[Figure]

    @property
    def judged(self) -> list[Figure]:
        """The figures that have a tolerance."""
        return [figure for figure in self.figures if figure.holds is not None]

    @property
    def holds(self) -> bool:
        """Whether no tolerance is broken."""
        return all(figure.holds for figure in self.judged)

    def figure(self, tag: str) -> Figure | None:
        """One figure; None if there is none of that name."""
        return next((figure for figure in self.figures if figure.tag == tag), None)

    def error_percent(self, tag: str) -> float | None:
        """Of one figure; None if there is none."""
        figure = self.figure(tag)
        return figure.error_percent if figure else None


def known_errors(compared: Sequence[Compared], tag: str) -> list[float]:
    """Errors of one figure in percent, of those that have one."""
    return [error for each in compared if (error := each.error_percent(tag)) is not None]


def signed_percent(error: float | None) -> str:
    """+0.42 %, -12.0 %; never -0.00 %."""
    if error is None:
        return "-"
    text = f"{error:+.2f}" if abs(error) < 9.995 else f"{error:+.1f}"
    return f"{text.replace('-0.00', '+0.00')} %"


def bare_percent(error: float | None) -> str:
    """The same without the sign of percent, which the header has."""
    return signed_percent(error).removesuffix(" %")
