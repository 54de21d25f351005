"""What is said of the ways to serve beside their GPUs, from the content of `plan.json`: cards, needs, real runs."""

from collections.abc import Iterator

from sunsim.report.entries import Arms, Entry
from sunsim.report.format import together
from sunsim.report.text_table import TextTable, table
from sunsim.roles import Stage


def work(arm: Entry) -> tuple[str, ...]:
    """The stages of a request's way that an arm does; colocated workers do both."""
    return tuple(sorted({steps for stage in arm["stages"] for steps in Stage(stage).steps}))


def by_work(arms: Arms) -> Iterator[Arms]:
    """Arms that do the same work together, those that do both stages' first; others are no rivals of theirs."""
    alike = together((work(arm), (name, arm)) for name, arm in arms.items())
    for done in sorted(alike, key=len, reverse=True):
        yield dict(alike[done])


def cards(plan: Entry) -> list[str]:
    """Of all arms, each once."""
    return list(dict.fromkeys(card for arm in plan["arms"].values() for card in arm["cards"].values()))


def needed(plan: Entry) -> TextTable:
    """An arm a row: what its models must be."""
    rows = ({"arm": name, "what its models must be": ", ".join(arm["needs"])} for name, arm in plan["arms"].items())
    return table(rows, left=2)
