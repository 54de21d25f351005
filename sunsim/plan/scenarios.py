"""The arms of a plan that pass, each as a scenario with the pools found, which `sunsim run` runs as it is."""

from ruamel.yaml import YAML

from sunsim.document.text import written
from sunsim.files import file_names
from sunsim.report.entries import Entry
from sunsim.result import SCENARIO
from sunsim.visible import visible

MADE = "scenario.yaml"
"""The file of a scenario that was made for a trace."""
MOST_LETTERS = 100
"""Of a scenario's name, which names a folder."""


def scenario_files(plan: Entry) -> dict[str, str]:
    """The file's name of each arm that passes, none that the plan's folder has for other scenarios.

    Args:
        plan: the content of `plan.json`.
    """
    stems = file_names(plan["arms"], taken=[name.removesuffix(".yaml") for name in (SCENARIO, MADE)])
    return {arm: f"{stems[arm]}.yaml" for arm, found in plan["arms"].items() if found["passes"]}


def scenario_of(plan: Entry, scenario: str, arm: str, stem: str) -> str:
    """A scenario, YAML, with that arm alone and the pools found for it.

    Args:
        plan: the content of `plan.json`.
        scenario: the YAML that it was made for, resolved: its paths hold anywhere.
        arm: one that passes.
        stem: of the file's name, which the scenario's name ends with.
    """
    yaml = YAML(typ="safe")
    content = yaml.load(scenario)
    block = next(each for each in content["arms"] if each["name"] == arm)
    for stage, workers in plan["arms"][arm]["workers"].items():
        block[stage] |= {"workers": workers}
    for stage, pool in plan["arms"][arm].get("elastic", {}).get("pools", {}).items():
        block[stage]["scaling"] |= pool["values"]
    own = {"name": f"{content['name']}-{stem}"[:MOST_LETTERS], "arms": [block]}
    rest = {key: value for key, value in content.items() if key not in {"plan", "sweep"}}
    told = visible(f"# The arm {arm} with the pools that `{plan['command']}` found.")
    return f"{told}\n{written(rest | own)}"
