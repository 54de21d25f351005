"""What differs between folders, place by place: in the input, and in the outcome."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sunsim.compare.differences import Difference, in_blocks
from sunsim.compare.folders import Folder
from sunsim.document.source import show
from sunsim.plan.tables import overview
from sunsim.report.columns import columns
from sunsim.report.compare import against
from sunsim.report.format import ABSENT, in_arms, times, together
from sunsim.report.text_table import TextTable, characters_wide

TRAFFIC = ("workload", "models")
"""Blocks of a scenario that say which requests come."""
SLO = ("slo",)
OF_SLO = frozenset(("request_goodput", "slo_attainment"))
"""Figures that hang on the limits."""
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
EVERY = frozenset(column.tag for column in FIGURES)

WIDEST = 100
"""Characters of a table of the input; a wider one is told in lines."""


def input_block(names: Sequence[str], given: Sequence[Difference]) -> TextTable | list[str]:
    """A place a row and a folder a column; where values are long, a place a line."""
    rows = [(each.path, *map(_shown, each.values)) for each in given]
    found = TextTable("Input", ("", *names), rows, left=len(names) + 1)
    if not rows or characters_wide(found) <= WIDEST:
        return found
    return ["Input", *(f"{path}: {in_arms(together(zip(values, names, strict=True)))}" for path, *values in rows)]


def outcome_table(
    folders: Sequence[Folder], given: Sequence[Difference], came_out: Mapping[str, Sequence[Difference]]
) -> TextTable:
    """Of each arm that differs the figures that do; of runs with their ratios, where they compare."""
    title, unlike = "Outcome", frozenset[str]()
    if folders[0].verb == "run" and in_blocks(given, TRAFFIC):
        title, unlike = "Outcome, without ratios, as the traffic differs", EVERY
    elif folders[0].verb == "run" and in_blocks(given, SLO):
        title, unlike = "Outcome, goodput and SLO met without ratios, as the SLO differs", OF_SLO
    return TextTable(title, ("", *(folder.name for folder in folders)), list(_outcome_rows(folders, came_out, unlike)))


def _shown(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, Mapping) and "name" in value:
        return "given"
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else show(value)


def _outcome_rows(
    folders: Sequence[Folder], came_out: Mapping[str, Sequence[Difference]], unlike: Collection[str]
) -> Iterator[tuple[str, ...]]:
    for arm in (arm for arm, found in came_out.items() if found):
        rows = list(_run_rows(folders, arm, unlike) if folders[0].verb == "run" else _plan_rows(folders, arm))
        yield (arm if rows else f"{arm}: only in figures that --json has",)
        for header, *cells in rows:
            yield f"  {' '.join(header.split())}", *cells


def _run_rows(folders: Sequence[Folder], arm: str, unlike: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Each figure, a folder a column, beside its ratio to the first that has it unless it is one of those `unlike`."""
    for column in FIGURES:
        entries = [entry if column.tag in entry else None for entry in (folder.arms.get(arm, {}) for folder in folders)]
        base = next(filter(None, entries), None)
        shown = [column.cell(entry) if entry else ABSENT for entry in entries]
        if base and len({cell for cell in shown if cell != ABSENT}) > 1:
            ratios = [
                "" if not entry or entry is base or column.tag in unlike else times(against(column.tag, entry, base))
                for entry in entries
            ]
            beside = [f"{cell} {ratio:>5}" for cell, ratio in zip(shown, ratios, strict=True)]
            yield column.header, *(shown if unlike == EVERY else beside)


def _plan_rows(folders: Sequence[Folder], arm: str) -> Iterator[tuple[str, ...]]:
    """What the plans' own first tables say of an arm, a folder a column."""
    tables = [overview(folder.document) for folder in folders]
    rows = [{row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}.get(arm, {}) for table in tables]
    for header in dict.fromkeys(header for table in tables for header in table.headers[1:]):
        cells = [row.get(header, ABSENT) for row in rows]
        if len(set(cells)) > 1:
            yield header, *cells
