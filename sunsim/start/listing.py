"""The verb `scenarios`: what the shipped scenarios are for."""

import re
from itertools import takewhile

from sunsim.report.blocks import Report
from sunsim.scenario.shipped import list_scenarios, scenarios_root


def scenarios_report() -> Report:
    """A sentence each."""
    return Report("Scenarios", [[f"{name}: {purpose(name)}" for name in list_scenarios()]])


def purpose(name: str) -> str:
    """The first sentence of the comment that a shipped scenario begins with."""
    lines = (scenarios_root() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))
    return re.split(r"(?<=[.?]) ", comment)[0]
