"""The report of a comparison: what it means in sentences, then what differs in the input, and in the outcome."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from sunsim.compare.differences import Difference, in_blocks, input_differences, outcome_differences, told
from sunsim.compare.folders import Folder
from sunsim.compare.tables import SLO, TRAFFIC, input_block, outcome_table
from sunsim.report.blocks import Bullets, Report
from sunsim.report.compare import against
from sunsim.report.entries import Entry
from sunsim.report.format import counted, gpu_count, listed, together
from sunsim.report.sentences import VERDICTS, other_models, verdict

WEIGHED = ("gpus", "output_throughput_per_gpu", "mean_ttft_ms", "mean_tpot_ms")
"""Arms that differ most in these are spoken of."""
NAMED = 3
"""Places of the input that a sentence names; the table has all of them."""


def comparison_report(folders: Sequence[Folder]) -> Report:
    """What differs between folders of one verb; figures stand beside their ratio to the first that has the arm."""
    given, came_out = input_differences(folders), outcome_differences(folders)
    names = [folder.name for folder in folders]
    said = sentences(folders, given, came_out)
    tables = [input_block(names, told(given)), outcome_table(folders, given, came_out)]
    return Report(" against ".join(names), [Bullets(said), *tables])


def comparison(folders: Sequence[Folder]) -> dict[str, Any]:
    """The same as plain data, with every figure that differs; a missing one is None."""
    given, came_out = input_differences(folders), outcome_differences(folders)
    return {
        "verb": folders[0].verb,
        "folders": [folder.name for folder in folders],
        "sentences": sentences(folders, given, came_out),
        "input": [{"path": each.path, "values": each.values} for each in given],
        "arms": {name: [folder.name for folder in folders if name in folder.arms] for name in _arms(folders)},
        "outcome": {
            arm: [{"path": each.path, "values": each.values} for each in found] for arm, found in came_out.items()
        },
    }


def sentences(
    folders: Sequence[Folder], given: Sequence[Difference], came_out: Mapping[str, Sequence[Difference]]
) -> list[str]:
    """What the tables come down to: the outcome first, then where it may come from."""
    names = [folder.name for folder in folders]
    if not given and not _differ(folders, came_out):
        return [f"Nothing differs: {listed(names)} have the same input and the same outcome."]
    if not _differ(folders, came_out):
        return ["The outcome is the same.", *_of_input(told(given))]
    found = told(given)
    said = _of_runs(folders, found) if folders[0].verb == "run" else _of_plans(folders)
    same = [arm for arm, found in came_out.items() if not found]
    said += [f"All figures of {listed(same)} are the same."] if same else []
    if folders[0].verb == "run" and len(in_blocks(found, TRAFFIC + SLO)) == len(found):
        found = []  # which has been said
    return said + _only(folders) + (_of_input(found) if given else [_unseen(folders)])


def _differ(folders: Sequence[Folder], came_out: Mapping[str, Sequence[Difference]]) -> bool:
    return any(came_out.values()) or any(folder.arms.keys() != folders[0].arms.keys() for folder in folders)


def _arms(folders: Sequence[Folder]) -> list[str]:
    return list(dict.fromkeys(name for folder in folders for name in folder.arms))


def _of_runs(folders: Sequence[Folder], given: Sequence[Difference]) -> list[str]:
    """Of every folder the arms that differ most from the first folder's; not of other traffic."""
    first, *others = folders
    traffic, slo = in_blocks(given, TRAFFIC), in_blocks(given, SLO)
    said = [f"The traffic differs ({_named(traffic)}), so output and latency do not compare."] if traffic else []
    said += [f"The SLO differs ({_named(slo)}), so goodput and attainment do not compare."] if slo else []
    for folder in others:
        pairs = [
            (arm, folder.arms[arm], first.arms[arm])
            for arm in first.arms
            if folder.arms.get(arm, first.arms[arm]) != first.arms[arm]
        ]
        pairs.sort(key=lambda pair: -_moved(pair[1], pair[2]))
        said += [
            verdict(f"{arm} in {folder.name}", entry, f"{arm} in {first.name}", base)
            for arm, entry, base in pairs[:VERDICTS]
            if not traffic and _moved(entry, base)
        ]
        models = {first.name: first.document["base_models"], folder.name: folder.document["base_models"]}
        changed = [arm for arm, _, _ in pairs if len({of[arm] for of in models.values()}) > 1]
        said += other_models({f"{arm} in {name}": of[arm] for name, of in models.items() for arm in changed})
    return said


def _moved(entry: Entry, base: Entry) -> float:
    """By how much the figure that differs most does; twice as much and half as much are alike."""
    return max(abs(log(ratio)) for tag in WEIGHED if (ratio := against(tag, entry, base) or 1.0))


def _of_plans(folders: Sequence[Folder]) -> list[str]:
    """How many GPUs each arm needs, and which needs fewest."""
    said = []
    for arm in _arms(folders):
        having = [folder for folder in folders if arm in folder.arms]
        needs = together((_need(folder.arms[arm]), folder.name) for folder in having)
        if len(needs) > 1:
            none = needs.pop(None, [])
            found = [
                f"{gpu_count(gpus)} GPU{'' if gpus == 1 else 's'} in {listed(names)}"
                for gpus, names in needs.items()
                if gpus
            ]
            said.append(f"{arm} needs {listed(found)}{f', and has no plan in {listed(none)}' if none else ''}.")
    if not said and any(len([folder for folder in folders if arm in folder.arms]) > 1 for arm in _arms(folders)):
        said.append("Every arm needs as many GPUs in all of the plans that have it.")
    fewest = together((", ".join(_fewest(folder)) or "none", folder.name) for folder in folders)
    if len(fewest) > 1:
        said.append(f"Fewest GPUs: {'; '.join(f'{arms} in {listed(names)}' for arms, names in fewest.items())}.")
    return said


def _need(arm: Entry) -> float | None:
    """GPUs; of elastic pools those held in the mean."""
    return arm["gpus"]["all"] if arm["passes"] else None


def _fewest(folder: Folder) -> list[str]:
    needed = {name: arm["gpus"]["all"] for name, arm in folder.arms.items() if arm["passes"]}
    return [name for name, gpus in needed.items() if gpus == min(needed.values())]


def _only(folders: Sequence[Folder]) -> list[str]:
    """Which arms are not in every folder."""
    where = {arm: [folder.name for folder in folders if arm in folder.arms] for arm in _arms(folders)}
    missing = together((tuple(names), arm) for arm, names in where.items() if len(names) < len(folders))
    return [f"Only in {listed(list(names))}: {listed(arms)}." for names, arms in missing.items()]


def _of_input(given: Sequence[Difference]) -> list[str]:
    """The places by name, the first of them at least."""
    if not given:
        return []
    paths = [each.path for each in given]
    said = [f"What differs in the input: {_named(paths)}."]
    if "seed" in paths:
        said.append("The seeds differ, so part of it is chance; a sweep over several seeds tells how much.")
    return said


def _named(paths: Sequence[str]) -> str:
    rest = len(paths) - NAMED
    return listed([*paths[:NAMED], *([f"{counted(rest, 'more place')} (below)"] if rest > 0 else [])])


def _unseen(folders: Sequence[Folder]) -> str:
    """Where a difference comes from that no recorded input has: of traces and links results keep no hash."""
    scenarios = [folder.scenario for folder in folders]
    reads = any(each["workload"]["kind"] == "trace" or "measured" in each["transfer"] for each in scenarios)
    more = ", or what is in its trace or the file of its link" if reads else ""
    return f"Nothing in the input differs, so sunsim's own code has changed{more}."
