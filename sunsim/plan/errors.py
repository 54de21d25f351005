"""How far off the profiles of a plan are, from the content of `plan.json`: one error for each kind of steps."""

from dataclasses import replace

from sunsim.plan.doubt import Seen
from sunsim.report.entries import Entry
from sunsim.report.format import ABSENT, count, counted
from sunsim.report.text_table import TextTable, table
from sunsim.roles import Stage

Found = dict[tuple[str, str], tuple[list[str], Entry | None]]
"""By kind of steps and profile: the arms that have them, and what is known of their error."""


def errors(plan: Entry) -> Found:
    """Of all steps that an arm of the plan has, in the order of the arms."""
    known = {(each["stage"], each["profile"]): each for each in plan["errors"]}
    found: Found = {}
    for name, arm in plan["arms"].items():
        for stage, profile in arm["profiles"].items():
            for steps in Stage(stage).steps:
                arms, _ = found.setdefault((str(steps), profile), ([], known.get((str(steps), profile))))
                arms.append(name)
    return found


def seen(found: Entry | None) -> str:
    """The error of some steps, and in what it was seen, in words."""
    if found is None:
        return "not known"
    runs = counted(found["seen_in"], "real run")
    where = {
        Seen.ALIKE: f"in {runs} of requests about as long",
        Seen.SWEEPS: "on the profile's own traffic, each sweep as predicted from the others",
        Seen.RUNS: f"in {runs} of requests of any length",
        Seen.ESTIMATES: "in estimates of measured profiles",
    }
    most = f"real ones up to {found['too_fast_percent']:.1f} % slower" if found["too_fast_percent"] else "none slower"
    mean = "" if found["seen_in"] == 1 else " in the mean"
    return f"{found['mean_percent']:.1f} %{mean}, {most}, {where[found['seen']]}"


def error_table(plan: Entry) -> TextTable:
    """A kind of steps a row, and the arms that have them: how far off the simulation of such was, and in what."""
    rows = [
        {"steps": steps, "of profile": profile, "in arms": ", ".join(dict.fromkeys(arms))} | _row(found)
        for (steps, profile), (arms, found) in errors(plan).items()
    ]
    return replace(table(rows, left=3), keys=2)


def _row(found: Entry | None) -> dict[str, str]:
    where = {
        Seen.ALIKE: "like real runs",
        Seen.SWEEPS: "own traffic",
        Seen.RUNS: "all real runs",
        Seen.ESTIMATES: "estimates",
    }
    return {
        "real\nruns": count(found["runs"]) if found and found["runs"] else "never",
        "off\nby": f"{found['mean_percent']:.1f} %" if found else ABSENT,
        "at most\nslower by": f"{found['too_fast_percent']:.1f} %" if found else ABSENT,
        "seen in": where[found["seen"]] if found else ABSENT,
    }
