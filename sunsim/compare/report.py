"""The report of a comparison: what it means in sentences, then what differs in the input, and in the outcome."""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import Any

from sunsim.compare.differences import Difference, input_differences, outcome_differences
from sunsim.compare.folders import Folder
from sunsim.document.source import show
from sunsim.plan.tables import overview
from sunsim.report.blocks import Bullets, Report
from sunsim.report.columns import columns
from sunsim.report.compare import against
from sunsim.report.entries import Entry
from sunsim.report.format import ABSENT, counted, gpu_count, listed, times, together
from sunsim.report.sentences import VERDICTS, other_models, verdict
from sunsim.report.text_table import TextTable

FIGURES = columns(
    "gpus",
    "decode_gpus",
    "gpu_hours",
    "peak_gpus",
    "output_throughput_window",
    "output_throughput_per_gpu",
    "request_goodput",
    "slo_attainment",
    "shed",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "p99_tpot_ms",
    "energy_j_per_output_token",
    "mean_session_duration_s",
    "cached_share",
    "recomputed_share",
    "moved_gb",
    "mean_acceptance_length",
    "draft_acceptance_rate",
    "mean_itl_ms",
)
"""Of a run's arm."""
WEIGHED = ("gpus", "output_throughput_per_gpu", "mean_ttft_ms", "mean_tpot_ms")
"""Arms that differ most in these are spoken of."""
TRAFFIC = ("workload", "models")
"""Blocks of a scenario that say which requests come."""
NAMED = 3
"""Places of the input that a sentence names; the table has all of them."""


def comparison_report(folders: Sequence[Folder]) -> Report:
    """What differs between folders of one verb; figures stand beside their ratio to the first that has the arm."""
    given, came_out = input_differences(folders), outcome_differences(folders)
    names = [folder.name for folder in folders]
    said = sentences(folders, given, came_out)
    inputs = TextTable(
        "Input", ("", *names), [(each.path, *map(_shown, each.values)) for each in given], left=len(names) + 1
    )
    outcome = TextTable("Outcome", ("", *names), list(_outcome_rows(folders, came_out)))
    return Report(" against ".join(names), [Bullets(said), inputs, outcome])


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
        return ["The outcome is the same.", *_of_input(given)]
    said = _of_runs(folders, given) if folders[0].verb == "run" else _of_plans(folders)
    same = [arm for arm, found in came_out.items() if not found]
    said += [f"All figures of {listed(same)} are the same."] if same else []
    return said + _only(folders) + (_of_input(given) or [_unseen(folders)])


def _differ(folders: Sequence[Folder], came_out: Mapping[str, Sequence[Difference]]) -> bool:
    return any(came_out.values()) or any(folder.arms.keys() != folders[0].arms.keys() for folder in folders)


def _arms(folders: Sequence[Folder]) -> list[str]:
    return list(dict.fromkeys(name for folder in folders for name in folder.arms))


def _of_runs(folders: Sequence[Folder], given: Sequence[Difference]) -> list[str]:
    """Of every folder the arms that differ most from the first folder's; not of other traffic."""
    first, *others = folders
    traffic, slo = (
        [each.path for each in given if each.path.partition(".")[0] in blocks] for blocks in (TRAFFIC, ("slo",))
    )
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
            if not traffic
        ]
        models = {first.name: first.document["base_models"], folder.name: folder.document["base_models"]}
        said += other_models({f"{arm} in {name}": of[arm] for name, of in models.items() for arm, _, _ in pairs})
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
    if not said:
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


def _shown(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, Mapping) and "name" in value:
        return "given"
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else show(value)


def _outcome_rows(folders: Sequence[Folder], came_out: Mapping[str, Sequence[Difference]]) -> Iterator[tuple[str, ...]]:
    """Of each arm that differs the figures that do."""
    rows_of = _run_rows if folders[0].verb == "run" else _plan_rows
    for arm in (arm for arm, found in came_out.items() if found):
        rows = list(rows_of(folders, arm))
        yield (arm if rows else f"{arm}: only in figures that --json has",)
        for header, *cells in rows:
            yield f"  {' '.join(header.split())}", *cells


def _run_rows(folders: Sequence[Folder], arm: str) -> Iterator[tuple[str, ...]]:
    """Each figure, a folder a column, beside its ratio to the first that has it."""
    for column in FIGURES:
        entries = [entry if column.tag in entry else None for entry in (folder.arms.get(arm, {}) for folder in folders)]
        base = next(filter(None, entries), None)
        shown = [column.cell(entry) if entry else ABSENT for entry in entries]
        if base and len({cell for cell in shown if cell != ABSENT}) > 1:
            ratios = [
                times(against(column.tag, entry, base)) if entry and entry is not base else "" for entry in entries
            ]
            yield column.header, *(f"{cell} {ratio:>5}" for cell, ratio in zip(shown, ratios, strict=True))


def _plan_rows(folders: Sequence[Folder], arm: str) -> Iterator[tuple[str, ...]]:
    """What the plans' own first tables say of an arm, a folder a column."""
    tables = [overview(folder.document) for folder in folders]
    rows = [{row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}.get(arm, {}) for table in tables]
    for header in dict.fromkeys(header for table in tables for header in table.headers[1:]):
        cells = [row.get(header, ABSENT) for row in rows]
        if len(set(cells)) > 1:
            yield header, *cells
