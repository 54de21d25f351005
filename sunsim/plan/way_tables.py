"""What is said of the ways to serve beside their GPUs, from the content of `plan.json`: cards, needs, real runs."""

from collections.abc import Mapping
from typing import Any

from sunsim.report.format import ABSENT, count, together
from sunsim.report.text_table import TextTable
from sunsim.roles import Stage

Entry = Mapping[str, Any]

ANY = "any fine-tunes"
RUNS = ("workers", "of profile", "in arms", "real\nruns", "TPOT\noff by", "TPOT\nworst", "TTFT\noff by", "TTFT\nworst")


def work(arm: Entry) -> tuple[str, ...]:
    """The stages of a request's way that an arm does; colocated workers do both."""
    return tuple(sorted({steps for stage in arm["stages"] for steps in Stage(stage).steps}))


def cards(plan: Entry) -> list[str]:
    """Of all arms, each once."""
    return list(dict.fromkeys(card for arm in plan["arms"].values() for card in arm["cards"].values()))


def needed(plan: Entry) -> TextTable:
    """An arm a row: what its models must be."""
    rows = [(name, ", ".join(arm["needs"]) or ANY) for name, arm in plan["arms"].items()]
    return TextTable("", ("arm", "what its models must be"), rows, left=2)


def validated(plan: Entry) -> TextTable:
    """A kind of workers a row, and the arms that have them: how far off the simulation of real runs of such was."""
    alike = together(
        ((each["stage"], each["profile"]), (name, each))
        for name, arm in plan["arms"].items()
        for each in arm["validated"]
    )
    rows = [
        (stage, profile, ", ".join(name for name, _ in found), *_runs(found[0][1]))
        for (stage, profile), found in alike.items()
    ]
    return TextTable("", RUNS, rows, left=3)


def _runs(of: Entry) -> tuple[str, ...]:
    figures = [of["figures"].get(tag) for tag in ("mean_tpot_ms", "mean_ttft_ms")]
    off = [
        cell
        for one in figures
        for cell in ((f"{one['mean_percent']:.1f} %", f"{one['worst_percent']:+.1f} %") if one else (ABSENT, ABSENT))
    ]
    return (count(of["runs"]) if of["runs"] else "never", *off)
