"""The verb `export`: an arm of a results folder, as files for what would serve it."""

import json
from pathlib import Path

from sunsim.compare.folders import refuse_unlisted
from sunsim.document.source import show
from sunsim.errors import InputError, clipped_list
from sunsim.export import dynamo, llm_d, vllm
from sunsim.export.deployment import deployment
from sunsim.files import file_names
from sunsim.folder import MANIFEST, Manifest, Results, read_manifest
from sunsim.plan.result import DOCUMENT
from sunsim.plan.scenarios import scenario_files
from sunsim.report.format import counted
from sunsim.result import SCENARIO
from sunsim.scenario import Scenario, load_scenario

FILES = {"vllm": vllm.files, "llm-d": llm_d.files, "dynamo": dynamo.files}
"""What writes the files of a deployment, by target."""


def export(given: Path, arm: str, target: str, out: Path | None) -> str:
    """Writes an arm's files for a target into `out` or else ``results/<folder>-<arm>-<target>``.

    Args:
        given: a folder that `sunsim run` or `sunsim plan` has left, or a scenario's file.
        target: of `FILES`.

    Returns:
        What was written, in one line.

    Raises:
        InputError: there is no such arm, or none that could be deployed; or a folder cannot be used.
    """
    scenario = scenario_with(given, arm)
    found = next((each for each in scenario.arms if each.name == arm), None)
    if found is None:
        raise _unknown(arm, [each.name for each in scenario.arms], given)
    stem = file_names([f"{given.resolve().stem}-{arm}-{target}"])
    out = out or Path("results") / next(iter(stem.values()))
    results = Results(out, "export")
    texts = FILES[target](deployment(scenario, found))
    with results.writing() as place:
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8")
    return f"{arm}, {counted(found.gpus, 'GPU')}: {out}/ ({', '.join(texts)})"


def scenario_with(given: Path, arm: str) -> Scenario:
    """The scenario that has the arm with its pools: of a run its own, of a plan the one with the pools found.

    Raises:
        InputError: the folder holds neither, or the arm failed in the plan, or a file cannot be read.
    """
    if not given.is_dir():
        return load_scenario(given)
    manifest = read_manifest(given)
    if manifest is None or manifest.verb not in {"run", "plan"}:
        raise InputError(_not_results(given, manifest), given)
    return load_scenario(given / (SCENARIO if manifest.verb == "run" else _file_of(given, arm)))


def _not_results(given: Path, manifest: Manifest | None) -> str:
    """What is wrong with a folder, and what would be right.

    Raises:
        InputError: results are there that no manifest lists.
    """
    if manifest is None:
        refuse_unlisted(given)
    holds = f"holds results of sunsim {manifest.verb}" if manifest else f"has no {MANIFEST}, so holds no results"
    files = sorted(given.glob("*.yaml"))
    such = f" such as {files[0]}" if files else ""
    return f"{holds}, must be a folder that sunsim run or plan has left, or a scenario's file{such}"


def _file_of(folder: Path, arm: str) -> str:
    """The name of the scenario of an arm that passed."""
    try:
        plan = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        files = scenario_files(plan)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"cannot be read ({error}), must be as sunsim plan has left it: give its command again"
        raise InputError(message, folder / DOCUMENT) from error
    if arm not in plan["arms"]:
        raise _unknown(arm, list(files) or list(plan["arms"]), folder)
    if arm not in files:
        passed = f"must be one that passed: {clipped_list(list(files))}" if files else "none passed"
        message = f"the arm {show(arm)} did not meet the SLO in this plan, so no pools are known for it, {passed}"
        raise InputError(message, folder)
    return files[arm]


def _unknown(arm: str, known: list[str], given: Path) -> InputError:
    return InputError(f"has no arm {show(arm)}, must be one of {clipped_list(known)}", given)
