"""The figures of a trace on a console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sunsim.report.format import count, number, percent
from sunsim.report.terminal import console
from sunsim.report.trace import left_out

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sunsim.workload.traces.select import Selection

MOST_MODELS = 20
LENGTHS = {"prompt": "prompt_tokens", "output": "output_tokens", "prompt + output": "total_tokens"}


def show(facts: Mapping[str, Any], selection: Selection, figure: Path | None) -> None:
    """Print what `sunsim.trace.statistics` found, to stdout."""
    target = console()
    heading = (
        f"{facts['file']} ({facts['format']}): {count(facts['requests'])} requests in {_span(facts['duration_s'])}"
    )
    if facts["arrival_times"] < facts["requests"]:
        heading += f" at {count(facts['arrival_times'])} different times"
    target.print(Text(", ".join(filter(None, (heading, left_out(selection), _order(selection))))), soft_wrap=True)
    for table in (_arrivals(facts), _lengths(facts), _models(facts)):
        if table:
            target.print()
            target.print(table)
    if figure:
        target.print()
        target.print(Text(f"Figure: {figure}"), soft_wrap=True)


def _span(duration_s: float) -> str:
    hours = f" ({number(duration_s / 3600)} h)" if duration_s >= 3600 else ""
    return f"{number(duration_s)} s{hours}"


def _order(selection: Selection) -> str:
    late = selection.rows.out_of_order
    return f"{count(late)} lines of the file out of order, sorted" if late else ""


def _arrivals(facts: Mapping[str, Any]) -> Table:
    table = _table("arrivals", "mean", "busiest minute", "busiest second")
    rates = (facts[key] for key in ("mean_rate_rps", "peak_minute_rate_rps", "peak_second_rate_rps"))
    table.add_row("requests/s", *map(number, rates))
    for name in ("prompt", "output"):
        table.add_row(f"{name} tokens/s", number(facts[f"{name}_tokens_per_s"]))
    table.add_row()
    table.add_row("burstiness (Poisson: 1)", "gaps", "per minute", "per second", style="bold")
    table.add_row("coefficient of variation", number(facts["gap_cv"]))
    table.add_row("index of dispersion", "", number(facts["dispersion_minute"]), number(facts["dispersion_second"]))
    return table


def _lengths(facts: Mapping[str, Any]) -> Table:
    table = _table("tokens", *facts["prompt_tokens"])
    for name, key in LENGTHS.items():
        table.add_row(name, *map(count, facts[key].values()))
    return table


def _models(facts: Mapping[str, Any]) -> Table | None:
    if not facts["models"]:
        return None
    table = _table("model", "requests", "share")
    shown = dict(list(facts["models"].items())[:MOST_MODELS])
    others = len(facts["models"]) - len(shown)
    if others:
        shown[f"{others} others"] = facts["requests"] - sum(shown.values())
    for name, requests in shown.items():
        table.add_row(Text(name), count(requests), percent(requests / facts["requests"], 1))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False, header_style="bold")
    table.add_column(first, overflow="fold", min_width=24)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table
