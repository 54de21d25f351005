"""Columns of tables, declared by the metrics that stand in them: headers, units and forms are the registry's."""

from collections.abc import Sequence
from dataclasses import dataclass

from sunsim.metrics.registry import REGISTRY
from sunsim.report.entries import Entry
from sunsim.report.format import count, number, percent


@dataclass(frozen=True, slots=True)
class Column:
    """A metric in a table.

    Attributes:
        tag: the metric's.
        header: with its unit, where it has one.
    """

    tag: str
    header: str

    def cell(self, entry: Entry) -> str:
        """What an entry of a summary has of it."""
        return written(self.tag, entry[self.tag])


def columns(*tags: str) -> list[Column]:
    """A column for each metric."""
    return [Column(tag, _header(tag)) for tag in tags]


def cells(shown: Sequence[Column], entry: Entry) -> dict[str, str]:
    """What an entry of a summary has of these columns, by header."""
    return {column.header: column.cell(entry) for column in shown}


def written(tag: str, value: float | Sequence[float] | None) -> str:
    """A metric's value as tables show it; of what is counted, a mean may be no whole number."""
    form = REGISTRY[tag].form
    if isinstance(value, Sequence):
        return f"{'/'.join(percent(each).removesuffix(' %') for each in value)} %"
    form = "number" if form == "count" and value is not None and value % 1 else form
    return percent(value, 1) if form == "share" else count(value) if form == "count" else number(value)


def _header(tag: str) -> str:
    """In two lines: the unit is the second, or ends it."""
    metric = REGISTRY[tag]
    name = metric.short or metric.header
    between = " " if "\n" in name else "\n"
    return f"{name}{between}{metric.unit}" if metric.unit else name
